package e2e_test

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/jobgate/jobgate/internal/config"
	"github.com/jobgate/jobgate/internal/gitlabtest"
	"github.com/jobgate/jobgate/internal/pkitest"
	"github.com/jobgate/jobgate/internal/policy"
)

// The exit codes of jobgate doctor. A warning does not fail a job.
const (
	isWell      = 0
	hasWarnings = 0
	hasFailures = 1
)

// doctorReport is the part of the doctor's JSON that the tests check.
type doctorReport struct {
	State    string
	Findings []struct {
		Name, State, What, Do string
		Details               []string
	}
	Job      struct{ ID int64 }
	Identity struct{ Username string }
	Rights   []struct{ Verb, Resource string }
}

// faultyJob is a job with a fault, and what the doctor finds.
type faultyJob struct {
	name     string
	job      gitlabtest.Job
	env      []string
	arrange  func(*testing.T, job) // before the doctor runs
	prelude  string                // of the script
	flags    string
	exitCode int
	states   map[string]string
	says     map[string]string // a part of what a check says
}

func (s faultyJob) check(t *testing.T) {
	t.Helper()
	s.checkIn(t, authorJob(t, s.job, s.env...))
}

func (s faultyJob) checkIn(t *testing.T, j job) {
	t.Helper()
	if s.arrange != nil {
		s.arrange(t, j)
	}
	text := j.shell(t, s.prelude+"\njobgate doctor "+s.flags)
	result := j.shell(t, s.prelude+"\njobgate doctor --output=json "+s.flags)
	if text.ExitCode != s.exitCode || result.ExitCode != s.exitCode {
		t.Errorf("exit codes are %d and %d, want %d: %s", text.ExitCode, result.ExitCode, s.exitCode, text)
	}
	// The prelude may have printed something before.
	var report doctorReport
	if err := json.Unmarshal([]byte(result.Stdout[strings.Index(result.Stdout, "\n{\n")+1:]), &report); err != nil {
		t.Fatalf("the report is no JSON: %v: %s", err, result)
	}
	for _, f := range report.Findings {
		if want, ok := s.states[f.Name]; ok && f.State != want {
			t.Errorf("%s is %s, want %s: %s", f.Name, f.State, want, f.What)
		}
		said := strings.Join(append([]string{f.What, f.Do}, f.Details...), "\n")
		if want := s.says[f.Name]; !strings.Contains(said, want) {
			t.Errorf("%s does not say %q: %s", f.Name, want, said)
		}
		if !strings.Contains(text.Stdout, f.Name) {
			t.Errorf("the text lacks %s: %s", f.Name, text)
		}
	}
}

const pointed = "jobgate kubeconfig 2> /dev/null"

func TestCIAuthor_Doctor(t *testing.T) {
	authors(t)
	prod := gitlabtest.Job{Environment: authorEnvironment}
	other, err := pkitest.NewAuthority("another cluster")
	if err != nil {
		t.Fatal(err)
	}
	otherCA, err := other.WriteCertificate(t.TempDir(), "other")
	if err != nil {
		t.Fatal(err)
	}
	const ok, failed, skipped = "ok", "failure", "not checked"
	rows := []faultyJob{
		{name: "all is well", job: prod, prelude: pointed, exitCode: isWell, states: map[string]string{
			"variables": ok, "token": ok, "gitlab": ok, "job": ok, "kubeconfig": ok, "agent": ok, "access": ok,
			"server": ok, "dns": ok, "tcp": ok, "tls": ok, "identity": ok, "rights": ok,
		}, says: map[string]string{
			"identity": "gitlab:project_env:190:prod", "rights": `in namespace "author" the job may get pods`,
		}},
		{name: "the agent is not listed", job: gitlabtest.Job{}, prelude: pointed, flags: "--agent=" + strconv.Itoa(closedAgent),
			exitCode: hasFailures, states: map[string]string{"gitlab": ok, "agent": failed, "access": skipped, "tls": ok, "identity": failed},
			says: map[string]string{
				"agent": "the job has no environment", "identity": "(401): GitLab does not list agent 204 for this job",
			}},
		{name: "no agent is listed", job: gitlabtest.Job{Project: lonelyProject}, exitCode: hasFailures,
			states: map[string]string{"kubeconfig": failed, "agent": failed, "identity": skipped, "rights": skipped},
			says:   map[string]string{"agent": "GitLab lists no agent for this job"}},
		{name: "the agent is another cluster's", job: gitlabtest.Job{Project: twoAgentsProject}, exitCode: hasFailures,
			prelude: pointed + " --context=" + farContext,
			states:  map[string]string{"agent": ok, "access": ok, "identity": failed, "rights": skipped},
			says:    map[string]string{"identity": "although GitLab lists agent 202 for this job\nask the cluster's admin: is the agent one of this cluster's"}},
		{name: "the job has ended", job: prod, arrange: func(t *testing.T, j job) {
			succeed(t, j.Workspace, "config", "set-cluster", "gitlab", "--server="+site.API.URL, "--certificate-authority="+site.Plane.CAFile())
			succeed(t, j.Workspace, "config", "use-context", authorContext)
			j.end(t)
		}, exitCode: hasFailures,
			states: map[string]string{"gitlab": failed, "job": skipped, "agent": skipped, "tls": ok, "identity": failed},
			says:   map[string]string{"gitlab": "401", "identity": "refuses the token (401), as GitLab does"}},
		{name: "GitLab does not answer", job: prod, prelude: pointed + "; export CI_API_V4_URL=" + elsewhere(t) + "/api/v4", exitCode: hasFailures,
			states: map[string]string{"gitlab": failed, "job": skipped, "agent": skipped, "identity": ok},
			says:   map[string]string{"gitlab": "GitLab is down, or the runner cannot reach it"}},
		{name: "JOBGATE_CONTEXT has a typing error", job: prod, prelude: pointed + "; export JOBGATE_CONTEXT=path/to/agent/project:naem",
			exitCode: hasWarnings, states: map[string]string{"kubeconfig": "warning", "identity": ok},
			says: map[string]string{"kubeconfig": `JOBGATE_CONTEXT is "path/to/agent/project:naem", and there is no such context`}},
		{name: "a warning, with --fail-on-warning", job: prod, prelude: pointed + "; export JOBGATE_CONTEXT=path/to/agent/project:naem",
			flags: "--fail-on-warning", exitCode: hasFailures, states: map[string]string{"kubeconfig": "warning", "identity": ok}},
		{name: "limited to another namespace", job: prod, prelude: pointed, flags: "--namespace=default", exitCode: hasWarnings,
			states: map[string]string{"identity": ok, "rights": "warning"}, says: map[string]string{"rights": "give --namespace"}},
		{name: "jobgate denies the job", job: gitlabtest.Job{Project: strictProject, Environment: "preprod"}, prelude: pointed, exitCode: hasFailures,
			states: map[string]string{"agent": ok, "access": "warning", "identity": failed, "rights": skipped},
			says: map[string]string{
				"access":   `it is for environments "prod*", and the job's is "preprod"`,
				"identity": `refused (403): jobgate: the ci_access entry of agent 203 does not admit job`,
			}},
		{name: "the CA is another cluster's", job: prod, prelude: pointed, env: []string{"JOBGATE_CA_FILE=" + otherCA}, exitCode: hasFailures,
			states: map[string]string{"agent": ok, "tcp": ok, "tls": failed, "identity": skipped},
			says:   map[string]string{"tls": "the CA that is given is a different one"}},
		{name: "the API server is down", job: prod, prelude: pointed, env: []string{"JOBGATE_URL=" + elsewhere(t)}, exitCode: hasFailures,
			states: map[string]string{"agent": ok, "dns": ok, "tcp": failed, "tls": skipped, "identity": skipped},
			says:   map[string]string{"tcp": "connection refused"}},
		{name: "still at the tunnel", job: prod, env: []string{"JOBGATE_URL="}, prelude: "kubectl config use-context " + authorContext,
			exitCode: hasFailures, states: map[string]string{"kubeconfig": ok, "agent": ok, "server": failed, "identity": skipped},
			says: map[string]string{"server": "GitLab's tunnel"}},
		{name: "still at the tunnel, beside JOBGATE_URL", job: prod, prelude: "kubectl config use-context " + authorContext,
			exitCode: hasFailures, states: map[string]string{"server": failed, "tls": ok, "identity": ok, "rights": ok}},
		{name: "no variables", job: prod, env: []string{"CI_API_V4_URL=", "CI_PROJECT_ID=", "KUBECONFIG=", "JOBGATE_URL=", "JOBGATE_CA_FILE="}, exitCode: hasFailures,
			prelude: "unset CI_JOB_TOKEN CI_JOB_ID",
			states:  map[string]string{"variables": failed, "token": skipped, "gitlab": skipped, "kubeconfig": failed, "server": failed},
			says:    map[string]string{"variables": "CI_JOB_TOKEN is not set"}},
		{name: "a context that kubectl would not use", job: gitlabtest.Job{Project: twoAgentsProject}, exitCode: hasWarnings,
			prelude: pointed, flags: "--context=" + authorContext,
			states: map[string]string{"kubeconfig": "warning", "identity": ok},
			says:   map[string]string{"kubeconfig": "kubectl would use none"}},
	}
	for _, row := range rows {
		t.Run(row.name, row.check)
	}
}

// The doctor shows a restriction among the rights.
func TestCIAuthor_DoctorShowsRestrictions(t *testing.T) {
	authors(t)
	reconfigure(t, func(c *config.Configuration) {
		c.Restrictions = append(c.Restrictions, policy.Restriction{
			Name: "author's production", Agents: []int64{authorAgent}, Namespaces: []string{authorNamespace},
			Verbs: []string{"create"}, APIGroups: []string{"apps"},
			Require: policy.Requirements{EnvironmentTiers: []string{"production"}},
		})
	})
	faultyJob{
		job: gitlabtest.Job{Environment: "staging"}, prelude: pointed, exitCode: hasWarnings,
		states: map[string]string{"identity": "ok", "rights": "warning"},
		says:   map[string]string{"rights": `create deployments.apps: jobgate: restriction "author's production" does not let job`},
	}.check(t)
}

// The doctor shows no part of a token, even if GitLab repeats it.
func TestCIAuthor_DoctorWhileGitLabIsUnwell(t *testing.T) {
	authors(t)
	unwell(t, gitlabtest.Fault{Endpoint: gitlabtest.AllowedAgents, Status: 403, EchoToken: true})
	faultyJob{
		job: gitlabtest.Job{}, exitCode: hasFailures,
		states: map[string]string{"gitlab": "failure", "job": "not checked"},
		says:   map[string]string{"gitlab": "403"},
	}.check(t)
}
