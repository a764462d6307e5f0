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
	"github.com/jobgate/jobgate/internal/decision"
	"github.com/jobgate/jobgate/internal/job"
	"github.com/jobgate/jobgate/internal/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The one agent of the cluster, the one job that uses it, and the cluster's name, of most tests.
const (
	agentID = 4
	jobID   = 1001
	cluster = "prod-eu"
)

// registry takes the place of the job registry: one answer for one job, and none for any other.
type registry struct {
	job *job.Job
	err error
}

func (r registry) LookupID(_ context.Context, by job.ByID) (job.Answer, error) {
	switch {
	case r.err != nil:
		return job.Answer{}, r.err
	case r.job == nil || by.ID != jobID:
		return job.Answer{}, job.ErrUnknown
	default:
		return job.Answer{Job: r.job}, nil
	}
}

// knownJob is a job of project 150 without environment, whose agent asks for nothing.
func knownJob(changes ...func(*job.Job)) *job.Job {
	j := &job.Job{
		ID: jobID, PipelineID: 501, ProjectID: 150, UserID: 9, Username: "jdoe",
		Groups: job.KnownFact([]int64{25, 23}), Roles: job.KnownFact([]string{"guest", "reporter", "developer"}),
		Agents: []job.Agent{{
			ID: agentID, ConfigProjectID: 7, Configuration: &job.Configuration{AccessAs: job.AsCIJob},
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
		j.Environment = job.Environment{Slug: slug, Tier: tier}
		if name != "" {
			j.Environment.Name = job.KnownFact(name)
		}
	}
}

// onRef gives a job the ref feature with this protection.
func onRef(p job.Protection) func(*job.Job) {
	return func(j *job.Job) { j.Ref.Name, j.Ref.Protection = "feature", p }
}

// asking gives the job's agent an entry of ci_access.
func asking(c job.Configuration) func(*job.Job) {
	return func(j *job.Job) { j.Agents[0].Configuration = &c }
}

// Keys of extras.
const (
	agentKey      = "agent.gitlab.com/id"
	configKey     = "agent.gitlab.com/config_project_id"
	projectKey    = "agent.gitlab.com/project_id"
	pipelineKey   = "agent.gitlab.com/ci_pipeline_id"
	jobKey        = "agent.gitlab.com/ci_job_id"
	usernameKey   = "agent.gitlab.com/username"
	slugKey       = "agent.gitlab.com/environment_slug"
	tierKey       = "agent.gitlab.com/environment_tier"
	clusterKey    = "jobgate.io/cluster"
	grantKey      = "jobgate.io/grant"
	deniedKey     = "jobgate.io/denied"
	nameKey       = "jobgate.io/environment"
	guardedKey    = "jobgate.io/environment-protected"
	refKey        = "jobgate.io/ref"
	refTypeKey    = "jobgate.io/ref-type"
	protectedKey  = "jobgate.io/ref-protected"
	sourceKey     = "jobgate.io/pipeline-source"
	groupKey      = "jobgate.io/group"
	roleKey       = "jobgate.io/role"
	userKey       = "jobgate.io/user-id"
	credentialKey = "authentication.kubernetes.io/credential-id"
)

// extra is an identity's extras: those of knownJob, and then pairs of a key and its values, which are separated by commas. A
// value of "-" leaves the key out, and "[]" leaves it without a value.
func extra(pairs ...string) map[string][]string {
	extra := map[string][]string{
		agentKey: {"4"}, configKey: {"7"}, projectKey: {"150"}, pipelineKey: {"501"}, jobKey: {"1001"}, usernameKey: {"jdoe"},
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

// grantExtra is extra for a job that logged in through the grant shop.
func grantExtra(pairs ...string) map[string][]string {
	return extra(append([]string{agentKey, "-", configKey, "-", clusterKey, cluster, grantKey, "shop"}, pairs...)...)
}

// extraOf is the extras that jobgate gives the identity of a job, nil for knownJob, and pairs as for extra.
func extraOf(j *job.Job, pairs ...string) map[string][]string {
	if j != nil && j.Environment.Exists() {
		pairs = append([]string{slugKey, j.Environment.Slug, tierKey, j.Environment.Tier}, pairs...)
	}
	return extra(pairs...)
}

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

// request changes what is requested; fields are verb, namespace, group, resource and, after a slash, subresource.
func request(verb, namespace, group, resource string) func(*authorizer.AttributesRecord) {
	return func(r *authorizer.AttributesRecord) {
		r.Verb, r.Namespace, r.APIGroup = verb, namespace, group
		r.Resource, r.Subresource, _ = strings.Cut(resource, "/")
	}
}

// nonResource requests a path.
func nonResource(verb, path string) func(*authorizer.AttributesRecord) {
	return func(r *authorizer.AttributesRecord) {
		*r = authorizer.AttributesRecord{User: r.User, Verb: verb, Path: path}
	}
}

// rules are a cluster's with one agent and no grants.
func rules(restrictions ...policy.Restriction) policy.Rules {
	return policy.Rules{
		Agents: []policy.Agent{{ID: agentID}}, Cluster: cluster, FiltersProtectedBranches: true, Restrictions: restrictions,
	}
}

// unmeetable is a requirement that no job of these tests meets, so that a restriction denies whatever it matches.
var unmeetable = policy.Requirements{Projects: policy.Projects{1}}

func newAuthorizer(jobs authz.Jobs, r policy.Rules) *authz.Authorizer {
	return authz.New(jobs, policy.Compile(r), decision.NewLog(nil, nil), nil)
}

// logged is a context whose log is kept.
func logged(t testing.TB) (context.Context, *bytes.Buffer) {
	var out bytes.Buffer
	return klog.NewContext(t.Context(), textlogger.NewLogger(textlogger.NewConfig(textlogger.Output(&out)))), &out
}

// noOpinion is the rule of a request that is not denied.
const noOpinion authz.Rule = ""

// wantRule asks about a request in every way there is, and returns the message of the denial.
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

// wantReadable checks what holds for every message: bounded, on one line, printable, and with the prefix once.
func wantReadable(t testing.TB, message string) {
	t.Helper()
	if !strings.HasPrefix(message, "jobgate: ") || strings.Contains(message[9:], "jobgate: ") {
		t.Errorf("the message does not have the prefix exactly once: %s", message)
	}
	if n := len([]rune(message)); n > 1025 {
		t.Errorf("the message has %d characters", n)
	}
	if at := strings.IndexFunc(message, func(c rune) bool { return c < ' ' || c == 0x7f || c == 0x202e }); at >= 0 {
		t.Errorf("the message has a control character: %q", message)
	}
}
