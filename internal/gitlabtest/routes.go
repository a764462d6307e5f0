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
	keys *keyring
}

// endpoint is one of the API's routes.
type endpoint struct {
	name           string // as in faults and counters: method, blank, path
	answer         func(*call) (*response, error)
	takesJobTokens bool
	open           bool // looks at no credential
	anyScope       bool // takes an access token of any scope
}

// endpoints have the paths of their names, in chi's notation.
var endpoints = map[string]endpoint{
	"/job/allowed_agents":                       {name: AllowedAgents, answer: (*call).allowedAgents, takesJobTokens: true},
	"/job":                                      {name: CurrentJob, answer: (*call).job, takesJobTokens: true},
	"/projects/{id}/jobs/{job}":                 {name: ProjectJob, answer: (*call).projectJob},
	"/projects/{id}/groups":                     {name: ProjectGroups, answer: (*call).projectGroups},
	"/projects/{id}/environments":               {name: Environments, answer: (*call).environments, takesJobTokens: true},
	"/projects/{id}/protected_environments/{e}": {name: ProtectedEnvironment, answer: (*call).protectedEnvironment},
	"/projects/{id}/repository/branches":        {name: Branches, answer: (*call).branches, takesJobTokens: true},
	"/projects/{id}/repository/branches/{b}":    {name: Branch, answer: (*call).branch},
	"/projects/{id}/repository/tags":            {name: Tags, answer: (*call).tags, takesJobTokens: true},
	"/projects/{id}/repository/tags/{t}":        {name: Tag, answer: (*call).tag},
	"/version":                                  {name: Version, answer: (*call).version},
	"/personal_access_tokens/self":              {name: AccessTokenSelf, answer: (*call).accessTokenSelf, anyScope: true},
}

// beside are the endpoints outside the API. /-/jwks is not one: GitLab has removed it.
var beside = map[string]endpoint{
	"/oauth/discovery/keys":             {name: KeySet, answer: (*call).keySet, open: true},
	"/.well-known/openid-configuration": {name: Discovery, answer: (*call).discovery, open: true},
}

// routes is the whole instance under its relative URL root.
func (s *Server) routes() http.Handler {
	root := chi.NewRouter()
	root.Use(middleware.GetHead)
	root.NotFound(s.outside)
	for path, e := range beside {
		root.Get(s.options.RelativeURLRoot+path, s.serve(e))
	}
	root.Route(s.options.RelativeURLRoot+"/api/v4", func(api chi.Router) {
		for path, e := range endpoints {
			api.Get(path, s.serve(e))
		}
		api.NotFound(s.serve(endpoint{answer: func(*call) (*response, error) { return nil, errNoRoute }}))
		api.MethodNotAllowed(s.serve(endpoint{answer: func(*call) (*response, error) { return nil, errBadMethod }}))
	})
	return root
}

// outside is everything else: web pages.
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

// answer is the real answer, from the present state: like GitLab, which asks its primary database here, it knows at once
// that a job has ended.
func (s *Server) answer(e endpoint, r *http.Request) (*response, error) {
	c := &call{st: s.state.Load(), r: r, base: s.url, root: s.options.RelativeURLRoot, now: s.options.Now(), keys: s.keys}
	if e.name != "" && !e.open {
		takesJobTokens := e.takesJobTokens &&
			!((e.name == Branches || e.name == Tags) && c.st.instance.Settings.RefusesBranchesToJobTokens)
		var err error
		if c.who, err = c.st.authenticate(r, takesJobTokens, e.anyScope, c.now); err != nil {
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
