package gitlabtest

import "time"

// Instance is everything the fake knows: a GitLab instance as one plain value. Tests build one, hand it to the server and
// change it through Server.Update; every change takes effect with the next request, as it does on a GitLab that reads
// its primary database for these endpoints.
type Instance struct {
	Settings Settings      `json:"settings"`
	Groups   []Group       `json:"groups,omitempty"`
	Projects []Project     `json:"projects,omitempty"`
	Users    []User        `json:"users,omitempty"`
	Agents   []Agent       `json:"agents,omitempty"`
	Jobs     []Job         `json:"jobs,omitempty"`
	Tokens   []AccessToken `json:"tokens,omitempty"`
}

// Settings are the instance's edition, release and administrator choices, as far as a job token's view depends on them.
// The zero value is a current, unlicensed instance.
type Settings struct {
	// Licensed is a Premium or Ultimate licence: without it authorizations with access_as ci_job, ci_user or
	// impersonate vanish from the lookup (config_scopes.rb).
	Licensed bool `json:"licensed,omitempty"`
	// OrganizationAuthorization is organization_cluster_agent_authorization_enabled: instance entries count and, from
	// 18.1 on, project and group entries reach across top-level groups. Only one organization bounds them then.
	OrganizationAuthorization bool `json:"organizationAuthorization,omitempty"`
	// Release is the GitLab version, such as 18.2.2; the current one when empty. The claims of ID tokens, the format of
	// job tokens and the reach of OrganizationAuthorization are those of that release.
	Release string `json:"release,omitempty"`
	// IDTokenIssuer is ci_id_tokens.issuer_url, the issuer of ID tokens; the instance's URL when empty.
	IDTokenIssuer string `json:"idTokenIssuer,omitempty"`
	// IgnoresProtectedBranches makes the lookup behave as a release before 17.10: protected_branches_only is returned
	// in the configuration but does not filter.
	IgnoresProtectedBranches bool `json:"ignoresProtectedBranches,omitempty"`
	// RejectsCanceling answers 401 for a job in status canceling, as some releases do.
	RejectsCanceling bool `json:"rejectsCanceling,omitempty"`
	// AcceptsAnyTokenShape accepts job tokens without the glcbt- prefix, as releases before 16.9 do.
	AcceptsAnyTokenShape bool `json:"acceptsAnyTokenShape,omitempty"`
	// RefusesBranchesToJobTokens answers 404 for the branches list with a job token, as releases before 19 do.
	RefusesBranchesToJobTokens bool `json:"refusesBranchesToJobTokens,omitempty"`
	// RefusesEnvironmentsToJobTokens answers 403 for the environments API with a job token (fine-grained permissions).
	RefusesEnvironmentsToJobTokens bool `json:"refusesEnvironmentsToJobTokens,omitempty"`
	// OmitsPlanner leaves the planner role out of roles_in_project, as releases before 17.7 do.
	OmitsPlanner bool `json:"omitsPlanner,omitempty"`
	// FeatureFlags is the value of the Gitlab-Feature-Flag header of a lookup: name=value pairs, or empty.
	FeatureFlags string `json:"featureFlags,omitempty"`
	// ExtraRoles are added to every non-empty roles_in_project: GitLab has added role names over time.
	ExtraRoles []string `json:"extraRoles,omitempty"`
	// InstanceTokenPrefix is put before glcbt- in JWT job tokens.
	InstanceTokenPrefix string `json:"instanceTokenPrefix,omitempty"`
}

// Group is a group; Parent 0 makes it a top-level group.
type Group struct {
	ID     int64  `json:"id"`
	Parent int64  `json:"parent,omitempty"`
	Path   string `json:"path"` // full path, such as group1/group1-1
}

// Project is a project of a group, or of a user's namespace when Group is 0.
type Project struct {
	ID    int64 `json:"id"`
	Group int64 `json:"group,omitempty"`
	// UserNamespace is the namespace id of a personal project; 0 is filled in by the path.
	UserNamespace int64  `json:"userNamespace,omitempty"`
	Path          string `json:"path"`                   // full path
	Organization  int64  `json:"organization,omitempty"` // 0 is the default organization
	PendingDelete bool   `json:"pendingDelete,omitempty"`
	// Public lets anyone read the project and its repository. In a private one it takes membership to see the project
	// and the reporter role to read environments and the repository.
	Public bool `json:"public,omitempty"`
	// PrivatePipelines keeps the jobs of a private project from guests, as "Public pipelines" switched off does.
	PrivatePipelines bool `json:"privatePipelines,omitempty"`
	// IDTokenSubject are the parts of sub in ID tokens (ci_id_token_sub_claim_components); project_path, ref_type and
	// ref when empty.
	IDTokenSubject []string `json:"idTokenSubject,omitempty"`
	// Branches and Tags exist in the repository; the protected lists are names or wildcards with *.
	Branches          []string      `json:"branches,omitempty"`
	Tags              []string      `json:"tags,omitempty"`
	ProtectedBranches []string      `json:"protectedBranches,omitempty"`
	ProtectedTags     []string      `json:"protectedTags,omitempty"`
	Environments      []Environment `json:"environments,omitempty"`
	// ProtectedEnvironments are names of environments, which need not exist (Premium and Ultimate).
	ProtectedEnvironments []string `json:"protectedEnvironments,omitempty"`
}

// Environment is a persisted environment. An ID of 0 is filled in, an empty Slug or Tier by GitLab's own rules. The
// slug is a stored column: renaming an environment keeps it.
type Environment struct {
	ID    int64  `json:"id"`
	Name  string `json:"name"`
	Slug  string `json:"slug,omitempty"`
	Tier  string `json:"tier,omitempty"`
	State string `json:"state,omitempty"` // available (also when empty), stopping or stopped
}

// User is a user; Access maps a project id to an access level (10 guest, 15 planner, 20 reporter, 30 developer,
// 40 maintainer, 50 owner).
type User struct {
	ID       int64         `json:"id"`
	Username string        `json:"username"`
	Access   map[int64]int `json:"access,omitempty"`
	// DeniedReason is the text after "403 Forbidden - " for a user who may not use the API, such as DeniedBlocked;
	// empty for an active user.
	DeniedReason string `json:"deniedReason,omitempty"`
	// Email is in ID tokens; <username>@example.com when empty.
	Email string `json:"email,omitempty"`
	// Identities are in ID tokens if the user lets GitLab pass them on; DirectGroups are paths of groups, which ID
	// tokens name if the flag ci_jwt_groups_direct is on and there are at most 200.
	Identities   []Identity `json:"identities,omitempty"`
	DirectGroups []string   `json:"directGroups,omitempty"`
}

// Identity is a user's account at a provider that the user logs in with.
type Identity struct {
	Provider  string `json:"provider"`
	ExternUID string `json:"extern_uid"`
}

// Agent is an agent registered in a project. Config is its .gitlab/agents/<name>/config.yaml as committed; every Update
// pushes it to GitLab anew (RefreshService), so paths in it are resolved against the state of that moment.
type Agent struct {
	ID      int64  `json:"id"`
	Name    string `json:"name"`
	Project int64  `json:"project"`
	Config  string `json:"config,omitempty"`
}

// Job is a job with its pipeline.
type Job struct {
	ID       int64    `json:"id"`
	Name     string   `json:"name,omitempty"` // deploy when empty
	Project  int64    `json:"project"`
	User     int64    `json:"user,omitempty"` // 0: a job without user
	Status   string   `json:"status"`         // running, canceling, success, failed, canceled, pending, ...
	Erased   bool     `json:"erased,omitempty"`
	Pipeline Pipeline `json:"pipeline"`
	// Environment is the full name in the job's environment keyword; it counts once the project has that environment.
	Environment string `json:"environment,omitempty"`
	// DeploymentTier and EnvironmentAction are the job's environment:deployment_tier and environment:action. They show
	// in ID tokens alone; start when there is no action.
	DeploymentTier    string `json:"deploymentTier,omitempty"`
	EnvironmentAction string `json:"environmentAction,omitempty"`
	// Protected is whether the ref was protected when the job was made; filled in from the project's rules. ID tokens
	// have it. The lookup judges by the rules of the moment.
	Protected *bool `json:"protected,omitempty"`
	// Runner is the id of the job's runner, 1 when it is 0, and Timeout the job's timeout, an hour when it is 0.
	Runner  int64         `json:"runner,omitempty"`
	Timeout time.Duration `json:"timeout,omitempty"`
	// Token is the job's CI_JOB_TOKEN; Update fills in an empty one according to TokenFormat. One that is given is
	// looked up as it stands, except with TokenFormat jwt: then this server must have signed it.
	Token string `json:"token,omitempty"`
	// TokenFormat is "jwt" for glcbt-<JWT>, "database" for glcbt-<hex partition>_<20 characters>, "partition" for <hex
	// partition>_<20 characters> and "legacy" for 20 characters without prefix. A current GitLab refuses the last two
	// (Settings.AcceptsAnyTokenShape). An empty one is filled in: database for a given Token, or else what the release
	// makes, which is jwt from 19.0 on. A top-level group may still choose the database format until 20.0.
	TokenFormat string `json:"tokenFormat,omitempty"`
	// TokenExpires is the JWT's exp in whole seconds; zero is filled in as an hour and five minutes from its creation.
	// To change it, empty Token as well.
	TokenExpires time.Time `json:"tokenExpires,omitzero"`
}

// Pipeline is the pipeline of a job.
type Pipeline struct {
	ID  int64  `json:"id"`  // the job's own id when 0
	Ref string `json:"ref"` // main (also when empty), v1.0, refs/merge-requests/1/head
	// Kind is branch (also when empty), tag or merge_request.
	Kind   string `json:"kind,omitempty"`
	Source string `json:"source,omitempty"` // push when empty, or merge_request_event for kind merge_request
	SHA    string `json:"sha,omitempty"`    // derived from the pipeline's id when empty
	// SourceBranch is the source branch of a merge request, feature when empty. SourceProject is the fork that has the
	// branch, or 0 when the merge request is not from a fork.
	SourceBranch  string `json:"sourceBranch,omitempty"`
	SourceProject int64  `json:"sourceProject,omitempty"`
}

// AccessToken is a personal, project or group access token.
type AccessToken struct {
	Token  string   `json:"token"`
	User   int64    `json:"user"`
	Scopes []string `json:"scopes"` // read_api, api, ...
	// Expires is when it expires, or zero for never.
	Expires time.Time `json:"expires,omitzero"`
	Revoked bool      `json:"revoked,omitempty"`
}

// The endpoints the fake serves, as named in faults and counters.
const (
	AllowedAgents         = "GET /job/allowed_agents"
	CurrentJob            = "GET /job"
	ProjectJob            = "GET /projects/:id/jobs/:job_id"
	ProjectGroups         = "GET /projects/:id/groups"
	Environments          = "GET /projects/:id/environments"
	ProtectedEnvironments = "GET /projects/:id/protected_environments"
	ProtectedEnvironment  = "GET /projects/:id/protected_environments/:name"
	Branches              = "GET /projects/:id/repository/branches"
	Branch                = "GET /projects/:id/repository/branches/:branch"
	Tag                   = "GET /projects/:id/repository/tags/:tag"
	ProtectedTags         = "GET /projects/:id/protected_tags"
	KeySet                = "GET /oauth/discovery/keys"
	Discovery             = "GET /.well-known/openid-configuration"
	AnyEndpoint           = "*"
)

// Fault is what goes wrong with some calls of an endpoint, instead of or before the real answer.
//
// Faults form a queue: of those that concern an endpoint, the earliest alone decides a call, whether by letting it pass
// (Skip) or by hitting it. Once it has hit Calls calls it is gone and the next one begins, with its own Skip.
type Fault struct {
	Endpoint string `json:"endpoint"`        // one of the endpoint names, or AnyEndpoint
	Calls    int    `json:"calls,omitempty"` // how many calls it hits, in turn; 0: all until cleared
	Skip     int    `json:"skip,omitempty"`  // how many calls pass before it starts

	Delay time.Duration `json:"delay,omitempty"` // wait, then go on with the rest of the fault or the real answer
	Hang  bool          `json:"hang,omitempty"`  // never answer; ends with the client's patience or the server

	Status int               `json:"status,omitempty"` // answer this status
	Header map[string]string `json:"header,omitempty"` // with these headers; alone: added to the real answer
	Body   string            `json:"body,omitempty"`   // and this body; alone: in place of the real one
	// ContentType is text/html when empty and Status is set; alone: the real body, mislabelled.
	ContentType string `json:"contentType,omitempty"`

	Truncate  bool   `json:"truncate,omitempty"`  // the body, cut in half with its length intact, then the connection ends
	Oversize  int    `json:"oversize,omitempty"`  // the body, padded with white space to this many bytes
	Redirect  string `json:"redirect,omitempty"`  // 302 to this URL
	Reset     bool   `json:"reset,omitempty"`     // TCP reset before any answer
	EchoToken bool   `json:"echoToken,omitempty"` // with Status: the body is a JSON message that repeats the credential
}

// Request is one request as the fake saw it.
type Request struct {
	Endpoint string              `json:"endpoint"` // "" for a path it does not serve
	Method   string              `json:"method"`
	URI      string              `json:"uri"`
	Header   map[string][]string `json:"header"`
}

// World is the former name of Instance.
//
// Deprecated: use Instance.
type World = Instance

// World is the former name of Server.Instance.
//
// Deprecated: use Instance.
func (s *Server) World() World { return s.Instance() }
