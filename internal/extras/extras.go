// Package extras is how a job travels in an identity's extras: encoded and decoded in one place. tokenreview writes them,
// kube-apiserver carries them, authz reads them back, perhaps in another instance.
//
// It knows keys, their bounds and their texts. It must not know what a rule asks for, nor what a request is.
package extras

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/jobgate/jobgate/internal/job"
)

// The extras that GitLab documents ("Impersonate the CI/CD job that accesses the cluster"). They are on every identity,
// so that the audit log names the job, whatever identity it has. kube-apiserver makes the keys of extras lower-case, and
// so are these.
const (
	Agent         = "agent.gitlab.com/id"
	ConfigProject = "agent.gitlab.com/config_project_id"
	Project       = "agent.gitlab.com/project_id"
	Pipeline      = "agent.gitlab.com/ci_pipeline_id"
	Job           = "agent.gitlab.com/ci_job_id"
	Username      = "agent.gitlab.com/username"
	Slug          = "agent.gitlab.com/environment_slug"
	Tier          = "agent.gitlab.com/environment_tier"
)

// jobgate's own extras: how a job without an agent was admitted, the reason of a denied identity, and the facts by which
// a job is judged where nothing else is known of it (after a restart, by another replica).
const (
	Cluster              = "jobgate.io/cluster"
	Grant                = "jobgate.io/grant"
	Denied               = "jobgate.io/denied"
	Environment          = "jobgate.io/environment" // the full name
	EnvironmentProtected = "jobgate.io/environment-protected"
	Ref                  = "jobgate.io/ref"
	RefType              = "jobgate.io/ref-type"
	RefProtected         = "jobgate.io/ref-protected"
	PipelineSource       = "jobgate.io/pipeline-source"
	Group                = "jobgate.io/group" // ids of the project's groups
	Role                 = "jobgate.io/role"  // of the job's user in the project
	UserID               = "jobgate.io/user-id"
	Commit               = "jobgate.io/commit"
	JobURL               = "jobgate.io/job-url"
)

// CredentialID is Kubernetes' own extra, as its JWT authenticator writes it. Only a job of an ID token has it.
const CredentialID = "authentication.kubernetes.io/credential-id"

// jtiPrefix begins the value of CredentialID.
const jtiPrefix = "JTI="

// mergeRequestRefs begins the name of a ref that only a merge request's pipeline runs for.
const mergeRequestRefs = "refs/merge-requests/"

// Bounds of what is written and read.
const (
	maxLabel  = 63   // of a DNS label (RFC 1123)
	maxText   = 4096 // of any other text, in bytes: a ref is as long as a path may be
	maxValues = 64   // of an extra that is a list: GitLab nests at most 20 groups
)

// Identity is a job as an identity's extras tell of it.
type Identity struct {
	// Job has no agents, and of the facts those that the extras hold.
	Job job.Job
	// AgentID and ConfigProjectID are of the agent that the job uses; 0 where it uses none. Of an agent that does not list
	// the job the project is not known.
	AgentID         int64
	ConfigProjectID int64
	// Cluster is the name of the cluster that the job logged in to without an agent, and Grant that of the grant that
	// admitted it: empty for a denied job, and for one that kube-apiserver itself logged in.
	Cluster string
	Grant   string
	// Denied is why the job may do nothing; IsDenied says whether the identity is such a one.
	Denied   string
	IsDenied bool
}

// IsOfAPIServer says that kube-apiserver has verified the job's ID token by itself, with structured authentication: no jobgate
// has seen the job log in, and no grant has admitted it yet.
func (i *Identity) IsOfAPIServer() bool { return i.Cluster != "" && i.Grant == "" && !i.IsDenied }

// Is says whether an identity is a CI job's.
func Is(extra map[string][]string) bool {
	_, found := extra[Job]
	return found
}

// Encode adds the identity's extras, and of the job's facts those that are asked for and known. What is not known is left
// out, and fails whatever needs it.
func (i *Identity) Encode(extra map[string][]string, facts job.Facts) {
	w := writer{extra: extra, values: make([]string, 0, usualExtras)}
	w.id(Agent, i.AgentID)
	w.id(ConfigProject, i.ConfigProjectID)
	w.id(Project, i.Job.ProjectID)
	w.id(Pipeline, i.Job.PipelineID)
	w.id(Job, i.Job.ID)
	w.text(Username, i.Job.Username)
	w.text(Slug, i.Job.Environment.Slug)
	w.text(Tier, i.Job.Environment.Tier)
	w.text(Cluster, i.Cluster)
	w.text(Grant, i.Grant)
	if i.IsDenied {
		w.set(Denied, i.Denied)
	}
	if i.Job.TokenID != "" {
		w.text(CredentialID, jtiPrefix+i.Job.TokenID)
	}
	w.facts(&i.Job, facts)
}

// usualExtras is how many extras a job has, and seldom more.
const usualExtras = 16

// writer keeps the values of all extras in one slice, since every login of a known job writes them again.
type writer struct {
	extra  map[string][]string
	values []string
}

func (w *writer) set(key, value string) {
	end := len(w.values)
	w.values = append(w.values, value)
	w.extra[key] = w.values[end : end+1 : end+1]
}

// text leaves out what Decode would refuse: a fact that is not there fails what needs it, and nothing else.
func (w *writer) text(key, value string) {
	if isText(value) {
		w.set(key, value)
	}
}

func (w *writer) id(key string, id int64) {
	if id != 0 {
		w.set(key, strconv.FormatInt(id, 10))
	}
}

func (w *writer) truth(key string, f job.Fact[bool]) {
	if f.Known {
		w.set(key, strconv.FormatBool(f.Value))
	}
}

func (w *writer) facts(j *job.Job, facts job.Facts) {
	if facts.Has(job.FactEnvironment) {
		w.text(Environment, j.Environment.Name.Value)
	}
	if facts.Has(job.FactEnvironmentProtected) {
		w.truth(EnvironmentProtected, j.Environment.Protected)
	}
	if facts.Has(job.FactRef) {
		w.text(Ref, j.Ref.Name)
	}
	if facts.Has(job.FactRefType) {
		w.text(RefType, string(j.Ref.Type))
	}
	if facts.Has(job.FactRefProtected) {
		w.truth(RefProtected, protection(&j.Ref))
	}
	if facts.Has(job.FactPipelineSource) {
		w.text(PipelineSource, j.PipelineSource.Value)
	}
	// A ref that is named like a branch needs the source beside it, or it would be taken for the branch.
	if facts.Has(job.FactRef) && j.Ref.MergeRequest && !strings.HasPrefix(j.Ref.Name, mergeRequestRefs) {
		w.text(PipelineSource, job.MergeRequestEvent)
	}
	if facts.Has(job.FactGroups) && j.Groups.Known {
		w.extra[Group] = decimals(j.Groups.Value)
	}
	if facts.Has(job.FactRoles) && j.Roles.Known {
		w.extra[Role] = texts(j.Roles.Value)
	}
	if facts.Has(job.FactUserID) {
		w.id(UserID, j.UserID)
	}
	if facts.Has(job.FactCommit) {
		w.text(Commit, j.Commit)
	}
	if facts.Has(job.FactURL) {
		w.text(JobURL, j.URL)
	}
}

// protection is the ref's, for which a merge request's pipeline never counts as protected, whatever else travels with it.
func protection(r *job.Ref) job.Fact[bool] {
	if r.Protection == job.ProtectionUnknown && !r.MergeRequest {
		return job.Fact[bool]{}
	}
	return job.KnownFact(r.Protection == job.Protected && !r.MergeRequest)
}

// texts are as many as an extra may have, without those that Decode would refuse.
func texts(all []string) []string {
	kept := make([]string, 0, min(len(all), maxValues))
	for _, text := range all {
		if isText(text) && len(kept) < maxValues {
			kept = append(kept, text)
		}
	}
	return kept
}

// decimals are the groups nearest to the project, as many as an extra may have.
func decimals(ids []int64) []string {
	texts := make([]string, 0, min(len(ids), maxValues))
	for _, id := range ids[:min(len(ids), maxValues)] {
		texts = append(texts, strconv.FormatInt(id, 10))
	}
	return texts
}

// Decode takes the extras of a job into an empty Identity, and says in a few words what is wrong with them: empty for
// nothing. Job, project, and an agent or a cluster must be there; the rest must be well formed if it is there. It repeats
// no value. The slice of an earlier use of i is used again, so that reading costs no allocation.
func (i *Identity) Decode(extra map[string][]string) (wrong string) {
	groups := i.Job.Groups.Value[:0]
	*i = Identity{}
	r := reader{extra: extra, unread: len(extra)}
	i.Job.ID = r.needID(Job)
	i.Job.ProjectID = r.needID(Project)
	i.AgentID = r.id(Agent)
	i.ConfigProjectID = r.id(ConfigProject)
	i.Job.PipelineID = r.id(Pipeline)
	i.Job.Username = r.text(Username)
	i.Job.Environment.Slug = r.label(Slug)
	i.Job.Environment.Tier = r.label(Tier)
	i.Cluster = r.label(Cluster)
	i.Grant = r.text(Grant)
	i.Denied, i.IsDenied = r.one(Denied)
	if id, _ := r.one(CredentialID); strings.HasPrefix(id, jtiPrefix) { // else of a certificate
		i.Job.TokenID = id[len(jtiPrefix):]
	}
	r.facts(&i.Job, groups)
	if e := &i.Job.Environment; i.IsOfAPIServer() && e.Name.Known && e.Slug == "" {
		e.Slug = job.Slug(e.Name.Value) // kube-apiserver can make no SHA-256, and leaves such slugs out
	}
	i.check(&r)
	return r.wrong
}

func (r *reader) facts(j *job.Job, groups []int64) {
	if r.unread == 0 { // most identities have the documented extras alone
		return
	}
	if name := r.text(Environment); name != "" {
		j.Environment.Name = job.KnownFact(name)
	}
	j.Environment.Protected = r.truth(EnvironmentProtected)
	j.Ref.Name = r.text(Ref)
	switch t := r.text(RefType); job.RefType(t) {
	case "", job.Branch, job.Tag:
		j.Ref.Type = job.RefType(t)
	default:
		r.fail(RefType, "must be branch or tag")
	}
	if p := r.truth(RefProtected); p.Known {
		j.Ref.Protection = job.Unprotected
		if p.Value {
			j.Ref.Protection = job.Protected
		}
	}
	if source := r.text(PipelineSource); source != "" {
		j.PipelineSource = job.KnownFact(source)
	}
	j.Ref.MergeRequest = j.PipelineSource.Value == job.MergeRequestEvent || strings.HasPrefix(j.Ref.Name, mergeRequestRefs)
	if texts, found := r.list(Group); found {
		for _, text := range texts {
			id, ok := job.ParseID(text)
			if !ok {
				r.fail(Group, "must be positive decimal numbers")
			}
			groups = append(groups, id)
		}
		j.Groups = job.KnownFact(groups)
	}
	if roles, found := r.list(Role); found {
		j.Roles = job.KnownFact(roles)
	}
	j.UserID = r.id(UserID)
	j.Commit = r.text(Commit)
	j.URL = r.text(JobURL)
}

// check finds extras that contradict each other.
func (i *Identity) check(r *reader) {
	e := &i.Job.Environment
	switch {
	case (i.AgentID == 0) == (i.Cluster == ""):
		r.fail(Agent, "must be there, or "+Cluster+" instead of it")
	case i.AgentID != 0 && i.Job.TokenID != "":
		// No agent lists an ID token. If kube-apiserver were told to write one, no grant would be judged.
		r.fail(Agent, "must not come together with the JTI of an ID token")
	case i.Grant != "" && (i.Cluster == "" || i.IsDenied):
		r.fail(Grant, "must come together with "+Cluster+", and not with "+Denied)
	case (e.Slug == "") != (e.Tier == ""):
		r.fail(Slug, "must come together with "+Tier)
	case e.Name.Known && e.Slug == "":
		r.fail(Environment, "must come together with "+Slug)
	}
}

// String names the job for a reason.
func (i *Identity) String() string {
	return fmt.Sprintf("job %d of project %d", i.Job.ID, i.Job.ProjectID)
}
