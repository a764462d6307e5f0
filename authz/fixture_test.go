package authz_test

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/klog/v2"
	"k8s.io/klog/v2/textlogger"

	"github.com/jobgate/jobgate/authz"
	"github.com/jobgate/jobgate/internal/gitlab"
	"github.com/jobgate/jobgate/internal/job"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The one agent of the cluster, and the one job that uses it, of most tests.
const (
	agentID = 4
	jobID   = 1001
)

// registry stands at the job registry's place: one answer for one job, and none for any other.
type registry struct {
	job *job.Job
	err error
}

func (r registry) LookupID(_ context.Context, id int64) (job.Answer, error) {
	switch {
	case r.err != nil:
		return job.Answer{}, r.err
	case r.job == nil || id != jobID:
		return job.Answer{}, job.ErrUnknown
	default:
		return job.Answer{Job: r.job}, nil
	}
}

// knownJob is a job of project 150 without environment, whose agent asks for nothing.
func knownJob(changes ...func(*job.Job)) *job.Job {
	j := &job.Job{
		ID: jobID, PipelineID: 501, ProjectID: 150, GroupIDs: []int64{25, 23}, UserID: 9, Username: "jdoe",
		Roles: []string{"guest", "reporter", "developer"},
		Agents: []job.Agent{{
			ID: agentID, ConfigProjectID: 7, Configuration: gitlab.Configuration{AccessAs: gitlab.AsCIJob},
		}},
	}
	for _, change := range changes {
		change(j)
	}
	return j
}

// inEnvironment puts a job into an environment; the name is empty where it is not known.
func inEnvironment(slug, tier, name string) func(*job.Job) {
	return func(j *job.Job) {
		j.Environment, j.Facts.EnvironmentName = &gitlab.Environment{Slug: slug, Tier: tier}, name
	}
}

// extra is an identity's extras: those of knownJob, and then pairs of a key and its values, which are separated by commas. A
// value of "-" leaves the key out, and "[]" leaves it without a value.
func extra(pairs ...string) map[string][]string {
	extra := map[string][]string{
		"agent.gitlab.com/id": {"4"}, "agent.gitlab.com/config_project_id": {"7"}, "agent.gitlab.com/project_id": {"150"},
		"agent.gitlab.com/ci_pipeline_id": {"501"}, "agent.gitlab.com/ci_job_id": {"1001"}, "agent.gitlab.com/username": {"jdoe"},
	}
	for i := 0; i < len(pairs); i += 2 {
		switch pairs[i+1] {
		case "-":
			delete(extra, pairs[i])
		case "[]":
			extra[pairs[i]] = []string{}
		default:
			extra[pairs[i]] = strings.Split(pairs[i+1], ",")
		}
	}
	return extra
}

// extraOf is the extras that jobgate gives the identity of a job, nil for knownJob, and pairs as for extra.
func extraOf(j *job.Job, pairs ...string) map[string][]string {
	if j != nil && j.Environment != nil {
		pairs = append([]string{slugKey, j.Environment.Slug, tierKey, j.Environment.Tier}, pairs...)
	}
	return extra(pairs...)
}

const (
	slugKey      = "agent.gitlab.com/environment_slug"
	tierKey      = "agent.gitlab.com/environment_tier"
	nameKey      = "jobgate.io/environment"
	refKey       = "jobgate.io/ref"
	protectedKey = "jobgate.io/ref-protected"
	groupKey     = "jobgate.io/group"
	roleKey      = "jobgate.io/role"
	deniedKey    = "jobgate.io/denied"
)

// as is a request to create a Deployment in the namespace prod, by a user with these extras.
func as(extra map[string][]string, changes ...func(*authorizer.AttributesRecord)) authorizer.AttributesRecord {
	r := authorizer.AttributesRecord{
		User: &user.DefaultInfo{Name: "gitlab:ci_job:1001", Groups: []string{"gitlab:ci_job"}, Extra: extra},
		Verb: "create", Namespace: "prod", APIGroup: "apps", APIVersion: "v1", Resource: "deployments", ResourceRequest: true,
	}
	for _, change := range changes {
		change(&r)
	}
	return r
}

// request changes what is asked for; fields are verb, namespace, group, resource and, after a slash, subresource.
func request(verb, namespace, group, resource string) func(*authorizer.AttributesRecord) {
	return func(r *authorizer.AttributesRecord) {
		r.Verb, r.Namespace, r.APIGroup = verb, namespace, group
		r.Resource, r.Subresource, _ = strings.Cut(resource, "/")
	}
}

// nonResource asks for a path.
func nonResource(verb, path string) func(*authorizer.AttributesRecord) {
	return func(r *authorizer.AttributesRecord) {
		*r = authorizer.AttributesRecord{User: r.User, Verb: verb, Path: path}
	}
}

func policy(restrictions ...authz.Restriction) authz.Policy {
	return authz.Policy{Agents: []int64{agentID}, FiltersProtectedBranches: true, Restrictions: restrictions}
}

func newAuthorizer(t testing.TB, jobs authz.Jobs, p authz.Policy) *authz.Authorizer {
	t.Helper()
	a, err := authz.New(jobs, p)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// logged is a context whose log is kept.
func logged(t testing.TB) (context.Context, *bytes.Buffer) {
	var out bytes.Buffer
	return klog.NewContext(t.Context(), textlogger.NewLogger(textlogger.NewConfig(textlogger.Output(&out)))), &out
}

// noOpinion is the rule of a request that is not denied.
const noOpinion authz.Rule = ""

// wantRule asks about a request by every way there is, and returns the message of the denial.
func wantRule(t testing.TB, a *authz.Authorizer, attrs authorizer.Attributes, want authz.Rule) string {
	t.Helper()
	ctx, log := logged(t)
	denial := a.Decide(ctx, attrs)
	got, message := noOpinion, ""
	if denial != nil {
		got, message = denial.Rule, denial.Message
	}
	if got != want {
		t.Errorf("denied by rule %q (%s), want %q", got, message, want)
	}
	if lines := strings.Count(log.String(), "\n"); lines != 0 && denial == nil || lines != 1 && denial != nil {
		t.Errorf("%d log lines for rule %q:\n%s", lines, got, log)
	}
	decision, reason, err := a.Authorize(ctx, attrs)
	wantDecision := authorizer.DecisionNoOpinion
	if denial != nil {
		wantDecision = authorizer.DecisionDeny
	}
	if decision != wantDecision || reason != message || err != nil {
		t.Errorf("Authorize: %v, %q, %v; want %v, %q, no error", decision, reason, err, wantDecision, message)
	}
	if denial != nil {
		wantReadable(t, message)
	}
	return message
}

// wantReadable checks what holds for every message: bounded, of one line, printable, and signed.
func wantReadable(t testing.TB, message string) {
	t.Helper()
	if !strings.HasPrefix(message, "jobgate: ") || strings.Contains(message[9:], "jobgate: ") {
		t.Errorf("the message is not signed once: %s", message)
	}
	if n := len([]rune(message)); n > 1025 {
		t.Errorf("the message has %d characters", n)
	}
	if at := strings.IndexFunc(message, func(c rune) bool { return c < ' ' || c == 0x7f || c == 0x202e }); at >= 0 {
		t.Errorf("the message has a control character: %q", message)
	}
}
