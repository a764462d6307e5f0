package webhook

import (
	"net/http"
	"net/http/pprof" // what it registers by itself, in http.DefaultServeMux, is not served

	"github.com/go-chi/chi/v5"
)

// profilesPath is where `go tool pprof` expects profiles.
const profilesPath = "/debug/pprof"

// profiles serves what the process does, in code and time, and nothing of what it knows: profiles hold no variables.
func profiles() http.Handler {
	router := chi.NewRouter()
	router.Get("/profile", pprof.Profile)
	router.Get("/trace", pprof.Trace)
	router.Get("/symbol", pprof.Symbol)
	router.Get("/*", pprof.Index)
	return router
}
