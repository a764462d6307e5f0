package gitlabtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"github.com/go-chi/chi/v5"
)

const (
	// maxInstanceBytes bounds an Instance that is put through the remote control.
	maxInstanceBytes = 64 << 20
	// maxRemoteFaults bounds the faults that the remote control lets pile up.
	maxRemoteFaults = 1000
)

// serverInfo is where the instance is, as the remote control tells it.
type serverInfo struct {
	URL           string `json:"url"`
	CACertificate string `json:"caCertificate,omitempty"` // PEM
}

// controlError is the body of every refusal of the remote control.
type controlError struct {
	Error string `json:"error"`
}

// ServeControl opens the remote control at a loopback address, until Close, and returns its URL. It speaks JSON:
//
//	GET    /server                        where the instance is and its CA
//	GET    /instance                         the whole Instance; the ETag is its revision
//	PUT    /instance                         replaces it; with If-Match only that revision, otherwise 412
//	POST   /faults                        adds one Fault; delay is text such as 50ms, or nanoseconds
//	DELETE /faults                        clears the faults
//	GET    /calls?endpoint=GET%20/job     {"calls": n}; all endpoints without the parameter
//	DELETE /calls                         forgets requests and counts
//	GET    /requests?endpoint=            the latest requests
//	GET    /kubeconfig?job=1001&url=      the job's KUBECONFIG; 409 when GitLab would set none
//	POST   /jobs/1001/status?to=success   changes a job's status
//
// It asks for no credential: whoever may connect to loopback may change the fake.
func (s *Server) ServeControl(addr string) (string, error) {
	listener, err := listenLoopback(addr)
	if err != nil {
		return "", fmt.Errorf("opening the remote control: %w", err)
	}
	url := "http://" + listener.Addr().String()
	if err := s.run(listener, s.controlRoutes()); err != nil {
		return "", fmt.Errorf("opening the remote control: %w", err)
	}
	return url, nil
}

func (s *Server) controlRoutes() http.Handler {
	r := chi.NewRouter()
	r.Use(s.counted)
	r.Get("/server", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, serverInfo{URL: s.url, CACertificate: string(s.caPEM)})
	})
	r.Get("/world", s.getInstance)
	r.Put("/world", s.putInstance)
	r.Post("/faults", s.postFault)
	r.Delete("/faults", func(w http.ResponseWriter, _ *http.Request) {
		s.ClearFaults()
		w.WriteHeader(http.StatusNoContent)
	})
	r.Get("/calls", func(w http.ResponseWriter, r *http.Request) {
		reply(w, http.StatusOK, callCount{s.Calls(endpointParameter(r))})
	})
	r.Delete("/calls", func(w http.ResponseWriter, _ *http.Request) {
		s.ResetCalls()
		w.WriteHeader(http.StatusNoContent)
	})
	r.Get("/requests", func(w http.ResponseWriter, r *http.Request) {
		reply(w, http.StatusOK, s.Requests(endpointParameter(r)))
	})
	r.Get("/kubeconfig", s.getKubeconfig)
	r.Post("/jobs/{id}/status", s.postStatus)
	return r
}

type callCount struct {
	Calls int `json:"calls"`
}

// counted lets Close wait for what the remote control is doing.
func (s *Server) counted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.exchanges.enter() {
			panic(http.ErrAbortHandler)
		}
		defer s.exchanges.leave()
		next.ServeHTTP(w, r)
	})
}

func endpointParameter(r *http.Request) string {
	if !r.URL.Query().Has("endpoint") {
		return AnyEndpoint
	}
	return r.URL.Query().Get("endpoint")
}

func (s *Server) getInstance(w http.ResponseWriter, _ *http.Request) {
	st := s.state.Load()
	w.Header().Set("ETag", s.etag(st))
	reply(w, http.StatusOK, st.instance)
}

func (s *Server) etag(st *state) string { return fmt.Sprintf(`"%s-%d"`, s.nonce, st.revision) }

func (s *Server) putInstance(w http.ResponseWriter, r *http.Request) {
	var instance Instance
	if !readJSON(w, r, &instance) {
		return
	}
	s.update.Lock()
	defer s.update.Unlock()
	if want := r.Header.Get("If-Match"); want != "" && want != s.etag(s.state.Load()) {
		reply(w, http.StatusPreconditionFailed, controlError{"the instance has changed since it was read"})
		return
	}
	if err := s.replace(func(w *Instance) { *w = instance }); err != nil {
		reply(w, http.StatusBadRequest, controlError{err.Error()})
		return
	}
	w.Header().Set("ETag", s.etag(s.state.Load()))
	w.WriteHeader(http.StatusNoContent)
}

func (s *Server) postFault(w http.ResponseWriter, r *http.Request) {
	var fault Fault
	if !readJSON(w, r, &fault) {
		return
	}
	switch {
	case !knownEndpoint(fault.Endpoint):
		reply(w, http.StatusBadRequest, controlError{fmt.Sprintf("unknown endpoint %q", fault.Endpoint)})
	case s.faults.len() >= maxRemoteFaults:
		reply(w, http.StatusConflict, controlError{fmt.Sprintf("there are %d faults already", maxRemoteFaults)})
	default:
		s.Fault(fault)
		w.WriteHeader(http.StatusNoContent)
	}
}

func knownEndpoint(name string) bool {
	return slices.Contains([]string{
		AllowedAgents, CurrentJob, Environments, Branches, Branch, Tag, ProtectedTags, AnyEndpoint,
	}, name)
}

func (s *Server) getKubeconfig(w http.ResponseWriter, r *http.Request) {
	job, err := strconv.ParseInt(r.URL.Query().Get("job"), 10, 64)
	if err != nil {
		reply(w, http.StatusBadRequest, controlError{"job is not a number"})
		return
	}
	file, err := s.Kubeconfig(job, r.URL.Query().Get("url"))
	switch {
	case errors.Is(err, ErrNoJob):
		reply(w, http.StatusNotFound, controlError{err.Error()})
	case errors.Is(err, ErrNoKubeconfig):
		reply(w, http.StatusConflict, controlError{err.Error()})
	case err != nil:
		reply(w, http.StatusInternalServerError, controlError{err.Error()})
	default:
		w.Header().Set("Content-Type", "application/yaml")
		_, _ = w.Write(file) // the client may be gone
	}
}

func (s *Server) postStatus(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.ParseInt(chi.URLParam(r, "id"), 10, 64)
	if err != nil {
		reply(w, http.StatusBadRequest, controlError{"the job's id is not a number"})
		return
	}
	found := false
	err = s.Update(func(w *Instance) {
		if job := w.Job(id); job != nil {
			found, job.Status = true, r.URL.Query().Get("to")
		}
	})
	switch {
	case err != nil:
		reply(w, http.StatusBadRequest, controlError{err.Error()})
	case !found:
		reply(w, http.StatusNotFound, controlError{fmt.Sprintf("job %d: %v", id, ErrNoJob)})
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

// readJSON reads the body, or refuses it and returns false. An unknown key is a mistake of whoever wrote it.
func readJSON(w http.ResponseWriter, r *http.Request, into any) bool {
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxInstanceBytes))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		reply(w, http.StatusBadRequest, controlError{fmt.Sprintf("reading the body: %v", err)})
		return false
	}
	return true
}

func reply(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value) // the client may be gone
}
