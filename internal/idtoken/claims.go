package idtoken

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	json "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/jobgate/jobgate/internal/job"
)

// claims are what is read of GitLab's (lib/gitlab/ci/jwt_v2.rb). What is not listed is ignored, for GitLab adds claims.
// project_id, ref and user_access_level describe the source project of a fork's merge request; only job_project_id is the
// project that runs the job.
type claims struct {
	Issuer               string   `json:"iss"`
	Audience             audience `json:"aud"`
	Expires              int64    `json:"exp"`
	IssuedAt             int64    `json:"iat"`
	ID                   string   `json:"jti"`
	JobID                decimal  `json:"job_id"`
	PipelineID           decimal  `json:"pipeline_id"`
	JobProjectID         decimal  `json:"job_project_id"`
	JobProjectPath       string   `json:"job_project_path"`
	ProjectID            decimal  `json:"project_id"`
	UserID               decimal  `json:"user_id"`
	UserLogin            string   `json:"user_login"`
	UserAccessLevel      string   `json:"user_access_level"`
	PipelineSource       string   `json:"pipeline_source"`
	Ref                  string   `json:"ref"`
	RefType              string   `json:"ref_type"`
	RefProtected         truth    `json:"ref_protected"`
	Environment          string   `json:"environment"`
	EnvironmentProtected truth    `json:"environment_protected"`
	Tier                 string   `json:"deployment_tier"`
	SHA                  string   `json:"sha"`
}

// Bounds of texts, in bytes; GitLab's own are below them.
const (
	maxName = 1024
	maxJTI  = 128
)

// job is the job that the claims describe. The error is a *job.RejectedError.
func (c *claims) job(url string) (*job.Job, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	j := &job.Job{
		ID: int64(c.JobID), PipelineID: int64(c.PipelineID), ProjectID: int64(c.JobProjectID),
		UserID: int64(c.UserID), Username: c.UserLogin, TokenID: c.ID, Commit: c.SHA,
		Roles: job.KnownFact(roles(c.UserAccessLevel)),
	}
	if c.PipelineSource != "" {
		j.PipelineSource = job.KnownFact(c.PipelineSource)
	} else {
		j.PipelineSource.Why = "the ID token does not say what started the pipeline"
	}
	if c.Environment != "" {
		j.Environment = job.Environment{
			Slug: job.Slug(c.Environment), Tier: c.Tier, Name: job.KnownFact(c.Environment), Protected: c.EnvironmentProtected.fact(),
		}
	}
	j.Ref = c.ref()
	if c.isFork() {
		j.Roles = job.KnownFact[[]string](nil)
	}
	if c.JobProjectPath != "" {
		j.URL = fmt.Sprintf("%s/%s/-/jobs/%d", strings.TrimRight(url, "/"), c.JobProjectPath, j.ID)
	}
	return j, nil
}

// check refuses what no identity may be made of.
func (c *claims) check() error {
	switch {
	case len(c.Audience) != 1:
		return invalid("it has %d audiences, and its other recipients could use it here; give the job an ID token for this cluster alone", len(c.Audience))
	case c.IssuedAt != 0 && c.Expires <= c.IssuedAt:
		return invalid("it ends before it begins")
	case c.JobID == 0 || c.PipelineID == 0:
		return invalid("it is not a CI job's: it has no job_id and pipeline_id")
	case c.JobProjectID == 0:
		return invalid("it does not say in which project the job runs (job_project_id); GitLab 18.3 or later is needed")
	case c.UserLogin == "" || len(c.UserLogin) > maxName:
		return invalid("it has no user_login")
	case len(c.Environment) > maxName || len(c.Ref) > maxName || len(c.JobProjectPath) > maxName || len(c.PipelineSource) > maxName ||
		len(c.SHA) > maxName || len(c.ID) > maxJTI:
		return invalid("a claim is longer than any of GitLab's")
	case c.Environment != "" && !slices.Contains(job.Tiers, c.Tier):
		return invalid("it has an environment without one of GitLab's tiers (deployment_tier)")
	case c.RefType != "" && c.RefType != string(job.Branch) && c.RefType != string(job.Tag):
		return invalid("its ref_type is neither branch nor tag")
	}
	return nil
}

// isFork says whether the claims about ref and role are another project's. A token without project_id cannot be told from
// a fork's.
func (c *claims) isFork() bool { return c.ProjectID != c.JobProjectID }

func (c *claims) ref() job.Ref {
	if c.isFork() {
		const why = "the job runs in a fork's merge request, whose ref is another project's"
		return job.Ref{MergeRequest: true, Protection: job.Unprotected, Why: why}
	}
	r := job.Ref{
		Name: c.Ref, Type: job.RefType(c.RefType), Protection: job.Unprotected,
		MergeRequest: c.PipelineSource == job.MergeRequestEvent || strings.HasPrefix(c.Ref, "refs/merge-requests/"),
	}
	if c.RefProtected == "true" && !r.MergeRequest {
		r.Protection = job.Protected
	}
	return r
}

// ladder are GitLab's roles from the lowest (lib/gitlab/access.rb).
var ladder = []string{"guest", "planner", "reporter", "security_manager", "developer", "maintainer", "owner"}

// roles are the level itself and every lower role, as roles_in_project has them. A level that is not known here is itself
// alone.
func roles(level string) []string {
	if level == "" {
		return nil
	}
	at := slices.Index(ladder, level)
	if at < 0 {
		return []string{level}
	}
	return slices.Clone(ladder[:at+1])
}

// decimal is an id as a canonical decimal in a string; "" and null are none. A number is refused: two readers of large
// numbers can disagree.
type decimal int64

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (d *decimal) UnmarshalJSONFrom(in *jsontext.Decoder) error {
	var text *string
	if err := json.UnmarshalDecode(in, &text); err != nil {
		return err
	}
	if text == nil || *text == "" {
		return nil
	}
	id, ok := job.ParseID(*text)
	if !ok {
		return strconv.ErrSyntax
	}
	*d = decimal(id)
	return nil
}

// audience is aud in either of its forms (RFC 7519, section 4.1.3).
type audience []string

// UnmarshalJSONFrom implements json.UnmarshalerFrom.
func (a *audience) UnmarshalJSONFrom(in *jsontext.Decoder) error {
	if in.PeekKind() == '[' {
		return json.UnmarshalDecode(in, (*[]string)(a))
	}
	var one string
	if err := json.UnmarshalDecode(in, &one); err != nil {
		return err
	}
	*a = audience{one}
	return nil
}

// truth is a boolean as GitLab writes it: the string true or false.
type truth string

func (t truth) fact() job.Fact[bool] {
	switch t {
	case "true", "false":
		return job.KnownFact(t == "true")
	default:
		return job.Fact[bool]{Why: "the ID token does not say it"}
	}
}
