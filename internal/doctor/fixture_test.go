package doctor_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/jobgate/jobgate/internal/cijob"
	"github.com/jobgate/jobgate/internal/doctor"
	"github.com/jobgate/jobgate/internal/gitlabtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The job, and the agent's context in GitLab's kubeconfig.
const (
	jobID       = 1001
	prodContext = "acme/agents:prod"
)

func instance() gitlabtest.Instance {
	agent := func(id int64, name, entry string) gitlabtest.Agent {
		return gitlabtest.Agent{ID: id, Name: name, Project: 7, Config: "ci_access:\n  projects:\n  - id: acme/web\n" + entry}
	}
	return gitlabtest.Instance{
		Settings: gitlabtest.Settings{Licensed: true},
		Groups:   []gitlabtest.Group{{ID: 23, Path: "acme"}},
		Projects: []gitlabtest.Project{
			{ID: 150, Group: 23, Path: "acme/web", Environments: []gitlabtest.Environment{
				{Name: "prod", Tier: "production"}, {Name: "preprod", Tier: "staging"},
			}},
			{ID: 7, Group: 23, Path: "acme/agents"},
		},
		Users: []gitlabtest.User{{ID: 9, Username: "jdoe"}},
		Agents: []gitlabtest.Agent{
			agent(4, "prod", "    default_namespace: web\n    access_as: {ci_job: {}}\n"),
			agent(5, "plain", "    access_as: {agent: {}}\n"),
			agent(6, "static", "    access_as: {impersonate: {username: bot, groups: [deployers]}}\n"),
			agent(8, "user", "    access_as: {ci_user: {}}\n"),
			agent(9, "wild", "    access_as: {ci_job: {}}\n    environments: [\"prod*\"]\n"),
			{ID: 13, Name: "closed", Project: 7},
		},
		Jobs: []gitlabtest.Job{{ID: jobID, Project: 150, User: 9, Status: "running", Environment: "prod"}},
	}
}

// setup is a job with a GitLab and an API server.
type setup struct {
	t       *testing.T
	gitlab  *gitlabtest.Server
	api     *apiServer
	token   string
	vars    map[string]string
	options doctor.Options
}

// newSetup is a setup in which all is well.
func newSetup(t *testing.T) *setup {
	t.Helper()
	server, err := gitlabtest.Start(gitlabtest.Options{Instance: instance(), TLS: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	s := &setup{t: t, gitlab: server, api: newAPIServer(t)}
	w := s.gitlab.Instance()
	s.token = w.Job(jobID).Token
	s.vars = map[string]string{
		"CI_JOB_TOKEN": s.token, "CI_JOB_ID": "1001", "CI_PROJECT_ID": "150", "CI_API_V4_URL": s.gitlab.URL() + "/api/v4",
		"CI_PROJECT_PATH": "acme/web", "CI_PROJECT_ROOT_NAMESPACE": "acme", "CI_ENVIRONMENT_NAME": "prod",
		"CI_COMMIT_REF_NAME": "main", "CI_COMMIT_REF_PROTECTED": "true", "CI_PIPELINE_SOURCE": "push",
		"CI_SERVER_TLS_CA_FILE": string(server.CACertPEM()), "KUBECONFIG": filepath.Join(t.TempDir(), "kubeconfig"),
	}
	s.writeKubeconfig(nil)
	return s
}

// writeKubeconfig writes GitLab's kubeconfig as `jobgate kubeconfig --agent=4` leaves it.
func (s *setup) writeKubeconfig(change func(*clientcmdapi.Config)) {
	s.t.Helper()
	raw, err := s.gitlab.Kubeconfig(jobID, "https://kas.gitlab.example.com/k8s-proxy/")
	if err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(s.vars["KUBECONFIG"], raw, 0o600); err != nil {
		s.t.Fatal(err)
	}
	config, err := cijob.Load(s.vars["KUBECONFIG"])
	if err != nil {
		s.t.Fatal(err)
	}
	config.Clusters["own"] = &clientcmdapi.Cluster{Server: s.api.URL, CertificateAuthorityData: s.api.ca()}
	config.Contexts[prodContext].Cluster = "own"
	config.CurrentContext = prodContext
	if change != nil {
		change(config)
	}
	if err := cijob.Write(s.vars["KUBECONFIG"], config); err != nil {
		s.t.Fatal(err)
	}
}

func (s *setup) update(change func(*gitlabtest.Instance)) {
	s.t.Helper()
	if err := s.gitlab.Update(change); err != nil {
		s.t.Fatal(err)
	}
}

// run runs the doctor, and looks for the token in whatever way the report can be read.
func (s *setup) run() *doctor.Report {
	s.t.Helper()
	s.options.Variables = func(name string) string { return s.vars[name] }
	s.options.UserAgent = "jobgate/test"
	report := doctor.Run(s.t.Context(), s.options)
	var all bytes.Buffer
	for _, write := range []func(io.Writer) error{
		func(w io.Writer) error { return json.NewEncoder(w).Encode(report) },
		func(w io.Writer) error { return report.WriteText(w, true) },
		func(w io.Writer) error { return report.WriteText(w, false) },
	} {
		if err := write(&all); err != nil {
			s.t.Fatal(err)
		}
	}
	// The end of a token is random in every format, unlike its beginning; a part of it is too much already.
	const random, part = 20, 8
	for i := len(s.token) - random; i+part <= len(s.token); i++ {
		if strings.Contains(all.String(), s.token[i:i+part]) {
			s.t.Fatal("the report shows a part of the token")
		}
	}
	for line := range strings.Lines(all.String()) {
		if len(line) > 8<<10 {
			s.t.Errorf("a line has %d bytes", len(line))
		}
	}
	return report
}

// finding is the report's finding of a check.
func finding(t *testing.T, r *doctor.Report, name string) doctor.Finding {
	t.Helper()
	i := slices.IndexFunc(r.Findings, func(f doctor.Finding) bool { return f.Name == name })
	if i < 0 {
		t.Fatalf("there is no finding %s", name)
	}
	return r.Findings[i]
}

// states are the findings' states by their names, in words.
func states(r *doctor.Report) map[string]doctor.State {
	all := map[string]doctor.State{}
	for _, f := range r.Findings {
		all[f.Name] = f.State
	}
	return all
}

func text(f doctor.Finding) string {
	return strings.Join(append([]string{f.What, f.Do}, f.Details...), "\n")
}

// apiServer answers as an API server would that knows jobgate; it is for shapes of errors that a real one does not make
// to order.
type apiServer struct {
	*httptest.Server
	user     authenticationv1.UserInfo
	status   *metav1.Status    // answered to every review, if any
	page     string            // answered to everything, if any
	access   map[string]string // verb and resource: why it is denied
	seen     []string          // bearer tokens
	redirect string            // where every request is sent, if anywhere
	broken   *metav1.Status    // answered to access reviews, if any
}

func newAPIServer(t *testing.T) *apiServer {
	t.Helper()
	a := &apiServer{user: authenticationv1.UserInfo{
		Username: "gitlab:ci_job:1001",
		Groups: []string{
			"gitlab:ci_job", "gitlab:group:23", "gitlab:group_env_tier:23:production", "gitlab:project:150",
			"gitlab:project_env:150:prod", "gitlab:project_env_tier:150:production", "system:authenticated",
		},
		Extra: map[string]authenticationv1.ExtraValue{"agent.gitlab.com/ci_job_id": {"1001"}},
	}}
	a.Server = httptest.NewUnstartedServer(a)
	a.Config.ErrorLog = log.New(io.Discard, "", 0) // broken handshakes are the tests' doing
	a.StartTLS()
	t.Cleanup(a.Close)
	return a
}

func (a *apiServer) ca() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Certificate().Raw})
}

func (a *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.seen = append(a.seen, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	switch {
	case a.redirect != "":
		http.Redirect(w, r, a.redirect, http.StatusTemporaryRedirect)
	case a.page != "":
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, a.page)
	case a.status != nil:
		answer(w, int(a.status.Code), a.status)
	case strings.HasSuffix(r.URL.Path, "/selfsubjectreviews"):
		answer(w, http.StatusCreated, &authenticationv1.SelfSubjectReview{
			TypeMeta: metav1.TypeMeta{APIVersion: "authentication.k8s.io/v1", Kind: "SelfSubjectReview"},
			Status:   authenticationv1.SelfSubjectReviewStatus{UserInfo: a.user},
		})
	case a.broken != nil:
		answer(w, int(a.broken.Code), a.broken)
	default:
		a.review(w, r)
	}
}

func (a *apiServer) review(w http.ResponseWriter, r *http.Request) {
	var review authorizationv1.SelfSubjectAccessReview
	if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	asked := review.Spec.ResourceAttributes
	reason, denied := a.access[asked.Verb+" "+asked.Resource]
	if all, ok := a.access["*"]; ok {
		reason, denied = all, true
	}
	review.TypeMeta = metav1.TypeMeta{APIVersion: "authorization.k8s.io/v1", Kind: "SelfSubjectAccessReview"}
	review.Status = authorizationv1.SubjectAccessReviewStatus{Allowed: !denied, Denied: denied && reason != "", Reason: reason}
	answer(w, http.StatusCreated, &review)
}

func answer(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body) // the client may be gone
}

// refusal is an API server's error.
func refusal(code int32, reason metav1.StatusReason, message string) *metav1.Status {
	return &metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"},
		Status:   metav1.StatusFailure, Code: code, Reason: reason, Message: message,
	}
}

// resolver knows the names it is given.
type resolver map[string][]string

func (r resolver) LookupHost(_ context.Context, host string) ([]string, error) {
	if addresses, ok := r[host]; ok {
		return addresses, nil
	}
	return nil, &noSuchHost{host}
}

type noSuchHost struct{ host string }

func (e *noSuchHost) Error() string { return "lookup " + e.host + ": no such host" }

// endJob ends the job: GitLab refuses its token, and so does the API server.
func (s *setup) endJob() {
	s.t.Helper()
	s.update(func(w *gitlabtest.Instance) { w.Job(jobID).Status = "success" })
	s.api.status = refusal(http.StatusUnauthorized, metav1.StatusReasonUnauthorized, "Unauthorized")
}
