package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jobgate/jobgate/internal/config"
	"github.com/jobgate/jobgate/internal/gitlabtest"
	"github.com/jobgate/jobgate/internal/policy"

	"github.com/jobgate/jobgate/e2e/controlplane"
	"github.com/jobgate/jobgate/e2e/sandbox"
)

const (
	grantCluster  = "prod"
	grantAudience = "https://api.prod.example.com" // as on docs/ci.md
	// grantFreshFor is short, so that the tests notice the end of a job soon.
	grantFreshFor = 2 * time.Second
)

// grantInstallation is a cluster without agents: grants alone admit jobs. Its two jobgates have the same configuration.
// The first one serves API, which caches as recommended. lasting asks the first who a job is, remembers that for a day,
// and asks the second what the job may do.
type grantInstallation struct {
	first, second *sandbox.Jobgate
	API, lasting  *controlplane.APIServer
}

// grantsOnly is started when it is first used, and ends with the site.
func grantsOnly(t *testing.T) *grantInstallation {
	t.Helper()
	g, err := startGrants()
	if err != nil {
		t.Fatal(err)
	}
	return g
}

var startGrants = sync.OnceValues(func() (*grantInstallation, error) {
	ctx := context.Background()
	tokenFile := filepath.Join(site.Dir, "grants-access-token")
	if err := os.WriteFile(tokenFile, []byte(readerToken+"\n"), 0o600); err != nil {
		return nil, err
	}
	configure := func(c *config.Configuration) {
		c.Agents, c.Restrictions = nil, []policy.Restriction{{
			Name: "trial", Mode: policy.Report, Namespaces: []string{"shop"}, Verbs: []string{"delete"},
			Require: policy.Requirements{RefTypes: []string{"tag"}},
		}}
		c.GitLab.TokenFile = tokenFile
		c.Cluster.Name, c.IDTokens.Audience = grantCluster, grantAudience
		c.Cache.FreshFor.Duration, c.Cache.StaleFor.Duration = grantFreshFor, time.Hour
		c.Grants = []policy.Grant{
			{Name: "production", Projects: []int64{shopProject}, Require: policy.Requirements{
				EnvironmentTiers: []string{"production"}, RefTypes: []string{"tag"}, ProtectedRef: true,
			}},
			{Name: "staging", Projects: []int64{shopProject}, Require: policy.Requirements{
				EnvironmentTiers: []string{"staging"}, Refs: []string{"main"}, RefTypes: []string{"branch"},
			}},
			{Name: "pages", Projects: []int64{project}},
		}
	}
	g := &grantInstallation{}
	var errs [3]error
	if g.first, errs[0] = site.StartJobgate(ctx, "jobgate-grants", configure); errs[0] != nil {
		return nil, errs[0]
	}
	if g.second, errs[0] = site.StartJobgate(ctx, "jobgate-grants-2", configure); errs[0] != nil {
		return nil, errs[0]
	}
	var starting sync.WaitGroup
	starting.Go(func() {
		g.API, errs[1] = site.Plane.StartAPIServer(ctx, g.first.APIServer("kube-apiserver-grants"))
	})
	starting.Go(func() {
		options := sandbox.LongMemory(g.first.APIServer("kube-apiserver-grants-2"))
		options.AuthorizationConfig = g.second.APIServer("").AuthorizationConfig
		g.lasting, errs[2] = site.Plane.StartAPIServer(ctx, options)
	})
	starting.Wait()
	return g, errors.Join(errs[:]...)
})

// both changes the configuration of both jobgates until the test ends.
func (g *grantInstallation) both(t *testing.T, change func(*config.Configuration)) {
	t.Helper()
	for _, j := range []*sandbox.Jobgate{g.first, g.second} {
		before, err := j.Configuration()
		if err != nil {
			t.Fatal(err)
		}
		if err := j.Reconfigure(t.Context(), change); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := j.Reconfigure(context.Background(), func(c *config.Configuration) { *c = *before }); err != nil {
				t.Error(err)
			}
		})
	}
}

// login is one of the two credentials that need no agent.
type login struct {
	name  string
	token func(*testing.T, job) string
}

func grantLogins() []login {
	return []login{
		{name: "job token", token: func(_ *testing.T, j job) string { return "ci:" + grantCluster + ":" + j.Token }},
		{name: "ID token", token: idToken},
	}
}

func idToken(t *testing.T, j job) string {
	t.Helper()
	token, err := site.GitLab.IDToken(j.ID, grantAudience)
	if err != nil {
		t.Fatal(err)
	}
	noteToken(t, token)
	return token
}

// released and staged are what the two grants admit.
func released() gitlabtest.Job {
	return gitlabtest.Job{Project: shopProject, Environment: "production", Pipeline: onTag}
}

func staged() gitlabtest.Job {
	return gitlabtest.Job{Project: shopProject, Environment: "staging", Pipeline: onMain}
}

// shell is a job of the project with GitLab's variables, jobgate and kubectl.
func (g *grantInstallation) shell(t *testing.T, j gitlabtest.Job) job {
	t.Helper()
	j.Project = shopProject
	return runJob(t, j, append(gitlabVariables(t, j), "JOBGATE_URL="+g.API.URL, "JOBGATE_CA_FILE="+site.Plane.CAFile())...)
}

// logged counts the lines of a jobgate's log that have all the words.
func logged(t *testing.T, j *sandbox.Jobgate, words ...string) int {
	t.Helper()
	text, err := os.ReadFile(j.LogFile)
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for line := range strings.Lines(string(text)) {
		has := true
		for _, word := range words {
			has = has && strings.Contains(line, word)
		}
		if has {
			count++
		}
	}
	return count
}

// wantMetric fails unless a jobgate's counter, with labels as name and value in turn, has grown by so many since before.
func wantMetric(t *testing.T, j *sandbox.Jobgate, want float64, name string, labels map[string]string) {
	t.Helper()
	got, err := j.Metric(t.Context(), name, labels)
	if err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Errorf("%s%v is %v, want %v", name, labels, got, want)
	}
}

func ended(j job) outcome {
	return outcome(fmt.Sprintf("job %d of project %d has ended", j.ID, j.Project))
}
