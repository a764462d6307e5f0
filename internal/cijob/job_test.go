package cijob_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/jobgate/jobgate/internal/cijob"
	"github.com/jobgate/jobgate/internal/credential"
	"github.com/jobgate/jobgate/internal/gitlabtest"
	"github.com/jobgate/jobgate/internal/job"
	"github.com/jobgate/jobgate/internal/pkitest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// secret is a token of GitLab's form.
const secret = "glcbt-64_SecretSecretSecret12"

// variables are a job's variables.
func variables(v map[string]string) cijob.Variables {
	return func(name string) string { return v[name] }
}

func TestRead(t *testing.T) {
	complete := map[string]string{
		"CI_JOB_TOKEN": secret, "CI_JOB_ID": "1001", "CI_PROJECT_ID": "150",
		"CI_API_V4_URL": "https://gitlab.example.com/api/v4", "CI_SERVER_URL": "https://other.example.com",
	}
	rows := []struct {
		name   string
		change map[string]string
		want   cijob.Job
		err    error
	}{
		{name: "complete", want: cijob.Job{GitLabURL: "https://gitlab.example.com", ID: 1001, ProjectID: 150}},
		{name: "relative URL root", change: map[string]string{"CI_API_V4_URL": "https://example.com/gitlab/api/v4"},
			want: cijob.Job{GitLabURL: "https://example.com/gitlab", ID: 1001, ProjectID: 150}},
		{name: "only the server's URL", change: map[string]string{"CI_API_V4_URL": ""},
			want: cijob.Job{GitLabURL: "https://other.example.com", ID: 1001, ProjectID: 150}},
		{name: "ids that are none", change: map[string]string{"CI_JOB_ID": "x", "CI_PROJECT_ID": "-1"},
			want: cijob.Job{GitLabURL: "https://gitlab.example.com"}},
		{name: "no token", change: map[string]string{"CI_JOB_TOKEN": ""},
			want: cijob.Job{GitLabURL: "https://gitlab.example.com", ID: 1001, ProjectID: 150}, err: cijob.ErrNoToken},
		{name: "no URL", change: map[string]string{"CI_API_V4_URL": "", "CI_SERVER_URL": ""},
			want: cijob.Job{ID: 1001, ProjectID: 150}, err: cijob.ErrNoURL},
		{name: "a URL with a password", change: map[string]string{"CI_API_V4_URL": "https://a:" + secret + "@gitlab.example.com/api/v4"},
			want: cijob.Job{ID: 1001, ProjectID: 150}, err: cijob.ErrURL},
		{name: "no URL at all", change: map[string]string{"CI_API_V4_URL": "gitlab.example.com:443"},
			want: cijob.Job{ID: 1001, ProjectID: 150}, err: cijob.ErrURL},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			got, err := cijob.Read(func(name string) string {
				if value, ok := row.change[name]; ok {
					return value
				}
				return complete[name]
			})
			if !errors.Is(err, row.err) || (row.err == nil) != (err == nil) {
				t.Errorf("error is %v, want %v", err, row.err)
			}
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Error("the error shows the token")
			}
			if want := !errors.Is(row.err, cijob.ErrNoToken); want == got.Token.Empty() {
				t.Errorf("there is a token: %t, want %t", !got.Token.Empty(), want)
			}
			got.Token = cijob.Token{}
			if diff := cmp.Diff(row.want, got, cmp.AllowUnexported(cijob.Token{})); diff != "" {
				t.Errorf("job (-want +got):\n%s", diff)
			}
		})
	}
}

func TestToken_PrintsNothingOfItself(t *testing.T) {
	token := cijob.NewToken(secret)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		for _, value := range []any{token, &token, struct{ T cijob.Token }{token}, cijob.Job{Token: token}} {
			if text := fmt.Sprintf(verb, value); strings.Contains(text, "Secret") || strings.Contains(text, "5365637265") {
				t.Errorf("%s of a %T shows the token", verb, value)
			}
		}
	}
	if got := token.Redact("before " + secret + " after"); got != "before [token] after" {
		t.Errorf("redacted text is %q", got)
	}
	if got := (cijob.Token{}).Redact("text"); got != "text" {
		t.Errorf("without a token, redacted text is %q", got)
	}
}

func TestToken_Check(t *testing.T) {
	now := time.Now()
	rows := []struct {
		name, text string
		expires    bool
		err        error
	}{
		{name: "opaque", text: secret},
		{name: "JWT", text: jwtJob(t, time.Hour), expires: true},
		{name: "expired JWT", text: jwtJob(t, -time.Hour), expires: true, err: cijob.ErrExpired},
		{name: "empty", err: credential.ErrMalformed},
		{name: "with a line break", text: secret + "\n", err: credential.ErrMalformed},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			expires, err := cijob.NewToken(row.text).Check(now)
			if !errors.Is(err, row.err) || (row.err == nil) != (err == nil) {
				t.Errorf("error is %v, want %v", err, row.err)
			}
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Error("the error shows the token")
			}
			if expires.IsZero() == row.expires {
				t.Errorf("expires %v", expires)
			}
		})
	}
}

// jwtJob is the token of a job whose JWT expires after a while.
func jwtJob(t *testing.T, after time.Duration) string {
	t.Helper()
	w := instance()
	w.Jobs[0].TokenFormat, w.Jobs[0].TokenExpires = "jwt", time.Now().Add(after)
	s := gitlabtest.New(t, w)
	current := s.Instance()
	return current.Job(1001).Token
}

func instance() gitlabtest.Instance {
	return gitlabtest.Instance{
		Settings: gitlabtest.Settings{Licensed: true},
		Groups:   []gitlabtest.Group{{ID: 23, Path: "acme"}},
		Projects: []gitlabtest.Project{{ID: 150, Group: 23, Path: "acme/web"}, {ID: 7, Group: 23, Path: "acme/agents"}},
		Users:    []gitlabtest.User{{ID: 9, Username: "jdoe"}},
		Agents: []gitlabtest.Agent{{ID: 4, Name: "prod", Project: 7, Config: "ci_access:\n  projects:\n  - id: acme/web\n" +
			"    default_namespace: web\n    access_as: {ci_job: {}}\n"}},
		Jobs: []gitlabtest.Job{{ID: 1001, Project: 150, User: 9, Status: "running"}},
	}
}

func TestReadCA(t *testing.T) {
	dir := t.TempDir()
	authority, err := pkitest.NewAuthority("ca")
	if err != nil {
		t.Fatal(err)
	}
	good, err := authority.WriteCertificate(dir, "ca")
	if err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	bad, large := filepath.Join(dir, "bad"), filepath.Join(dir, "large")
	for file, text := range map[string]string{bad: "no PEM", large: strings.Repeat("a", 1<<20+1)} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	rows := []struct {
		name, value string
		ok          bool
	}{
		{"a file", good, true},
		{"PEM itself", string(pem), true},
		{"no file", filepath.Join(dir, "none"), false},
		{"a file without PEM", bad, false},
		{"a file that is too large", large, false},
		{"half of a certificate", string(pem[:len(pem)/2]), false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			got, err := cijob.ReadCA(row.value)
			if (err == nil) != row.ok {
				t.Fatalf("error is %v", err)
			}
			if row.ok && string(got) != string(pem) {
				t.Errorf("read %d bytes of %d", len(got), len(pem))
			}
		})
	}
}

func TestJob_ClientTrustsTheRunnersCA(t *testing.T) {
	s, err := gitlabtest.Start(gitlabtest.Options{Instance: instance(), TLS: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	ca := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(ca, s.CACertPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	w := s.Instance()
	ci, err := cijob.Read(variables(map[string]string{
		"CI_JOB_TOKEN": w.Job(1001).Token, "CI_API_V4_URL": s.URL() + "/api/v4", "CI_SERVER_TLS_CA_FILE": ca,
	}))
	if err != nil {
		t.Fatal(err)
	}
	client, err := ci.Client("jobgate/test", 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	reply, err := client.AllowedAgents(t.Context(), ci.Token.Text(), job.Logins)
	if err != nil || reply.JobID != 1001 {
		t.Errorf("GitLab says %+v, %v", reply, err)
	}
	ci.GitLabCA = filepath.Join(t.TempDir(), "none")
	if _, err := ci.Client("jobgate/test", time.Second); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("with a CA that is not there: %v", err)
	}
}

func TestCheckServer(t *testing.T) {
	rows := []struct {
		name, url string
		want      error
	}{
		{"an API server", "https://api.example.com:6443", nil},
		{"behind a proxy with a path", "https://rancher.example.com/k8s/clusters/c-1", nil},
		{"an address", "https://[2001:db8::1]:6443/", nil},
		{"none", "", cijob.ErrNoServer},
		{"without encryption", "http://api.example.com", cijob.ErrServerScheme},
		{"without scheme", "api.example.com:6443", cijob.ErrServerURL},
		{"without host", "https://:6443", cijob.ErrServerURL},
		{"with a password", "https://a:b@api.example.com", cijob.ErrServerURL},
		{"with a query", "https://api.example.com?token=a", cijob.ErrServerURL},
		{"a path", "/api", cijob.ErrServerURL},
		{"no URL", "https://%zz", cijob.ErrServerURL},
		{"the tunnel", "https://kas.gitlab.example.com/k8s-proxy/", cijob.ErrTunnel},
		{"the tunnel of Omnibus", "https://gitlab.example.com/-/kubernetes-agent/k8s-proxy", cijob.ErrTunnel},
		{"a host that is called like the tunnel", "https://k8s-proxy.example.com", nil},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			u, err := cijob.CheckServer(row.url)
			if !errors.Is(err, row.want) || (row.want == nil) != (err == nil) {
				t.Fatalf("error is %v, want %v", err, row.want)
			}
			if err == nil && u.String() != row.url {
				t.Errorf("URL is %s", u)
			}
		})
	}
}

func TestServerURL(t *testing.T) {
	const own, gitlabs = "https://api.example.com", "https://certificate.example.com"
	rows := []struct {
		name string
		flag string
		vars map[string]string
		want string // empty: ErrNoServer
		say  []string
		not  string
	}{
		{name: "flag", flag: own, vars: map[string]string{"JOBGATE_URL": gitlabs}, want: own},
		{name: "variable", vars: map[string]string{"JOBGATE_URL": own}, want: own},
		{name: "variable beside GitLab's", vars: map[string]string{"JOBGATE_URL": own, "KUBE_URL": gitlabs, "KUBE_TOKEN": "t"}, want: own},
		{name: "neither", say: []string{"JOBGATE_URL is not set"}, not: "KUBE_URL"},
		{name: "KUBE_URL alone", vars: map[string]string{"KUBE_URL": gitlabs},
			say: []string{"JOBGATE_URL is not set", "KUBE_URL is not used"}, not: "KUBE_TOKEN"},
		{name: "GitLab's KUBE_URL", vars: map[string]string{"KUBE_URL": gitlabs, "KUBE_TOKEN": "t"},
			say: []string{"JOBGATE_URL is not set", "KUBE_URL is not used: it is GitLab's own", "KUBE_TOKEN"}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			u, err := cijob.ServerURL(row.flag, variables(row.vars))
			if row.want != "" {
				if err != nil || u.String() != row.want {
					t.Errorf("URL is %v (%v), want %s", u, err, row.want)
				}
				return
			}
			if !errors.Is(err, cijob.ErrNoServer) {
				t.Fatalf("error is %v, want %v", err, cijob.ErrNoServer)
			}
			for _, want := range row.say {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error lacks %q: %v", want, err)
				}
			}
			if row.not != "" && strings.Contains(err.Error(), row.not) {
				t.Errorf("error has %q: %v", row.not, err)
			}
		})
	}
}
