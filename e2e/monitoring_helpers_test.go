package e2e_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/jobgate/jobgate/certs"
	"github.com/jobgate/jobgate/internal/config"
	"github.com/jobgate/jobgate/internal/eventually"
	"github.com/jobgate/jobgate/internal/gitlabtest"
	"github.com/jobgate/jobgate/internal/policy"

	"github.com/jobgate/jobgate/e2e/prometheus"
)

const (
	monitoredAudience = "https://monitored.example.com"
	scrapeInterval    = 250 * time.Millisecond
	// apiServerInterval is longer: the API server has very many metrics.
	apiServerInterval = time.Second
)

// monitored is a jobgate to which everything happens that its metrics can tell.
type monitored struct {
	keptJobgate
	client *http.Client
}

func startMonitored(t *testing.T) *monitored {
	t.Helper()
	// No line can be written to /dev/full, so decisions are lost.
	m := &monitored{keptJobgate: startKept(t, "jobgate-monitored", certs.Request{}, "--decision-log=/dev/full")}
	err := m.Restart(t.Context(), func(c *config.Configuration) {
		c.Cluster.Name = "monitored"
		c.GitLab.Timeout.Duration = time.Second
		c.IDTokens = config.IDTokens{Audience: monitoredAudience}
		c.Grants = []policy.Grant{{Name: "pages", Projects: []int64{project}}}
		tier := policy.Requirements{EnvironmentTiers: []string{"production"}}
		c.Restrictions = append(c.Restrictions,
			policy.Restriction{Name: "trial", Mode: policy.Report, Namespaces: []string{"trial"}, Require: tier},
			policy.Restriction{Name: "prod", Namespaces: []string{"prod"}, Require: tier},
			policy.Restriction{
				Name: "staging", Namespaces: []string{"staging"}, Require: policy.Requirements{Environments: []string{"stag*"}},
			})
	})
	if err != nil {
		t.Fatal(err)
	}
	if m.client, err = m.keptJobgate.client(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.client.CloseIdleConnections)
	return m
}

// watch starts a Prometheus that scrapes this jobgate and the site's API server.
func (m *monitored) watch(t *testing.T) *prometheus.Server {
	t.Helper()
	scraper, err := site.Plane.IssueClient("prometheus", "system:monitoring")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	server, err := prometheus.Start(t.Context(), prometheus.Options{
		Dir: t.TempDir(), Address: freeAddress(t), Rules: rules + "/" + monitoringFolder + "alerts.yaml",
		Jobs: []prometheus.Job{
			{Name: "jobgate", URL: m.HealthURL, Interval: scrapeInterval},
			{
				Name: "kube-apiserver", URL: site.API.URL, Interval: apiServerInterval,
				CA: site.Plane.CAFile(), Certificate: scraper.Cert, Key: scraper.Key,
			},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	m.awaitScrape(t, server)
	return server
}

// awaitScrape returns when both have been scraped from now on.
func (m *monitored) awaitScrape(t *testing.T, server *prometheus.Server) {
	t.Helper()
	query := fmt.Sprintf("count(timestamp(up == 1) > %d) == 2", time.Now().Unix()+1)
	eventually.Succeeds(t, func() error {
		values, err := server.Query(t.Context(), query)
		if err == nil && len(values) == 0 {
			err = errors.New("not scraped yet")
		}
		return err
	})
}

// work does once everything that jobgate counts, with jobs that it does not know yet.
func (m *monitored) work(t *testing.T) {
	t.Helper()
	j := runJob(t, gitlabtest.Job{Environment: "staging"})
	token := func(j job) string { return fmt.Sprintf("ci:%d:%s", ciJobAgent, j.Token) }
	user := m.login(t, token(j), true)
	m.login(t, token(j)+"x", false)
	m.login(t, "someone else's", false)
	id, err := site.GitLab.IDToken(j.ID, monitoredAudience)
	if err != nil {
		t.Fatal(err)
	}
	noteToken(t, id)
	m.login(t, id, true)
	for _, namespace := range []string{"shop", "trial", "prod", "staging"} {
		m.request(t, user, namespace)
	}

	recoverNow := unwell(t, gitlabtest.Unavailable())
	m.post(t, "/authenticate", http.StatusServiceUnavailable, reviewOf(token(runJob(t, gitlabtest.Job{}))), &metav1.Status{})
	recoverNow()

	if _, err := m.pki.Renew(true); err != nil {
		t.Fatal(err)
	}
	succeed(t, loggedIn(t, gitlabtest.Job{}, ciJobContext).Workspace, "auth", "whoami")
}

// login asks whose the token is.
func (m *monitored) login(t *testing.T, token string, want bool) authenticationv1.UserInfo {
	t.Helper()
	var answer authenticationv1.TokenReview
	m.post(t, "/authenticate", http.StatusOK, reviewOf(token), &answer)
	if answer.Status.Authenticated != want {
		t.Fatalf("authenticated %t: %s", answer.Status.Authenticated, answer.Status.Error)
	}
	return answer.Status.User
}

func reviewOf(token string) authenticationv1.TokenReview {
	return authenticationv1.TokenReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "authentication.k8s.io/v1", Kind: "TokenReview"},
		Spec:     authenticationv1.TokenReviewSpec{Token: token},
	}
}

// request asks what the user may do in the namespace.
func (m *monitored) request(t *testing.T, user authenticationv1.UserInfo, namespace string) {
	t.Helper()
	spec := authorizationv1.SubjectAccessReviewSpec{
		User: user.Username, Groups: user.Groups, Extra: map[string]authorizationv1.ExtraValue{},
		ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: namespace, Verb: "delete", Version: "v1", Resource: "pods"},
	}
	for key, values := range user.Extra {
		spec.Extra[key] = authorizationv1.ExtraValue(values)
	}
	var answer authorizationv1.SubjectAccessReview
	m.post(t, "/authorize", http.StatusOK, authorizationv1.SubjectAccessReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "authorization.k8s.io/v1", Kind: "SubjectAccessReview"}, Spec: spec,
	}, &answer)
	if answer.Status.Denied != (namespace == "prod") {
		t.Fatalf("in %s: %+v", namespace, answer.Status)
	}
}

func (m *monitored) post(t *testing.T, path string, want int, review, answer any) {
	t.Helper()
	body, err := json.Marshal(review)
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, m.URL+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := m.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != want {
		t.Fatalf("status %d, want %d: %s %v", response.StatusCode, want, text, err)
	}
	if err := json.Unmarshal(text, answer); err != nil {
		t.Fatal(err)
	}
}
