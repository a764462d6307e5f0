package gitlabtest

import (
	"net/http"
	"net/url"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
)

// call is one request being answered.
type call struct {
	st   *state
	r    *http.Request
	who  principal
	base string // the instance's URL, for links
	root string // its path
	now  time.Time
}

// endpoint is one of the API's routes.
type endpoint struct {
	name           string // as in faults and counters: method, blank, path
	answer         func(*call) (*response, error)
	takesJobTokens bool
}

// endpoints have the paths of their names, in chi's notation.
var endpoints = map[string]endpoint{
	"/job/allowed_agents":                    {AllowedAgents, (*call).allowedAgents, true},
	"/job":                                   {CurrentJob, (*call).job, true},
	"/projects/{id}/environments":            {Environments, (*call).environments, true},
	"/projects/{id}/repository/branches":     {Branches, (*call).branches, true},
	"/projects/{id}/repository/branches/{b}": {Branch, (*call).branch, false},
	"/projects/{id}/repository/tags/{t}":     {Tag, (*call).tag, false},
	"/projects/{id}/protected_tags":          {ProtectedTags, (*call).protectedTags, false},
}

// routes is the whole instance under its relative URL root.
func (s *Server) routes() http.Handler {
	root := chi.NewRouter()
	root.Use(middleware.GetHead)
	root.NotFound(s.outside)
	root.Route(s.options.RelativeURLRoot+"/api/v4", func(api chi.Router) {
		for path, e := range endpoints {
			api.Get(path, s.serve(e))
		}
		api.NotFound(s.serve(endpoint{answer: func(*call) (*response, error) { return nil, errNoRoute }}))
		api.MethodNotAllowed(s.serve(endpoint{answer: func(*call) (*response, error) { return nil, errBadMethod }}))
	})
	return root
}

// outside is what lies beside the API: web pages.
func (s *Server) outside(w http.ResponseWriter, r *http.Request) {
	s.exchange(w, r, "", func() *response { return htmlPage(http.StatusNotFound) })
}

func (s *Server) serve(e endpoint) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.exchange(w, r, e.name, func() *response {
			out, err := s.answer(e, r)
			if err != nil {
				return errorResponse(err)
			}
			return out
		})
	}
}

// answer is the real answer, on the state of this moment: like GitLab, which asks its primary database here, it knows
// at once that a job has ended.
func (s *Server) answer(e endpoint, r *http.Request) (*response, error) {
	c := &call{st: s.state.Load(), r: r, base: s.url, root: s.options.RelativeURLRoot, now: s.options.Now()}
	if e.name != "" {
		takesJobTokens := e.takesJobTokens &&
			!(e.name == Branches && c.st.instance.Settings.RefusesBranchesToJobTokens)
		var err error
		if c.who, err = c.st.authenticate(r, takesJobTokens); err != nil {
			return nil, err
		}
	}
	return e.answer(c)
}

// param is a part of the path, in which %2F stands for a slash.
func (c *call) param(name string) string {
	raw := chi.URLParam(c.r, name)
	if c.r.URL.RawPath == "" { // then chi has matched the decoded path
		return raw
	}
	decoded, err := url.PathUnescape(raw)
	if err != nil {
		return raw
	}
	return decoded
}

// currentJob is the job whose token was the credential (authenticate! and current_authenticated_job).
func (c *call) currentJob() (*Job, error) {
	switch {
	case c.who.user == nil:
		return nil, errUnauthorized
	case c.who.job == nil:
		return nil, notFound("Job")
	}
	return c.who.job, nil
}
