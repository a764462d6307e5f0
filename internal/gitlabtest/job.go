package gitlabtest

import (
	"crypto/sha1" // a git object id, not a secret
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// jobEntity is the answer of GET /job (API::Entities::Ci::Job, lib/api/entities/ci/job.rb). It has no protection and no
// environment, and the project path only in its URLs.
type jobEntity struct {
	ID                int64          `json:"id"`
	Status            string         `json:"status"`
	Stage             string         `json:"stage"`
	Name              string         `json:"name"`
	Ref               string         `json:"ref"`
	Tag               bool           `json:"tag"`
	Coverage          *float64       `json:"coverage"`
	AllowFailure      bool           `json:"allow_failure"`
	CreatedAt         string         `json:"created_at"`
	StartedAt         string         `json:"started_at"`
	FinishedAt        *string        `json:"finished_at"`
	ErasedAt          *string        `json:"erased_at"`
	Duration          float64        `json:"duration"`
	QueuedDuration    float64        `json:"queued_duration"`
	User              *userEntity    `json:"user"`
	Commit            commitEntity   `json:"commit"`
	Pipeline          pipelineEntity `json:"pipeline"`
	WebURL            string         `json:"web_url"`
	Project           jobProject     `json:"project"`
	Artifacts         []string       `json:"artifacts"`
	FailureReason     string         `json:"failure_reason,omitempty"`
	Runner            *runnerEntity  `json:"runner"`
	RunnerManager     *string        `json:"runner_manager"`
	ArtifactsExpireAt *string        `json:"artifacts_expire_at"`
	Archived          bool           `json:"archived"`
	TagList           []string       `json:"tag_list"`
}

type userEntity struct {
	ID       int64  `json:"id"`
	Username string `json:"username"`
	Name     string `json:"name"`
	State    string `json:"state"`
	WebURL   string `json:"web_url"`
}

type runnerEntity struct {
	ID int64 `json:"id"`
}

type commitEntity struct {
	ID      string `json:"id"`
	ShortID string `json:"short_id"`
	Title   string `json:"title"`
}

// pipelineEntity is PipelineBasic. Its ref for a merge request is refs/merge-requests/<iid>/head.
type pipelineEntity struct {
	ID        int64  `json:"id"`
	IID       int64  `json:"iid"`
	ProjectID int64  `json:"project_id"`
	SHA       string `json:"sha"`
	Ref       string `json:"ref"`
	Status    string `json:"status"`
	Source    string `json:"source"`
	CreatedAt string `json:"created_at"`
	UpdatedAt string `json:"updated_at"`
	WebURL    string `json:"web_url"`
}

type jobProject struct {
	ScopeEnabled bool `json:"ci_job_token_scope_enabled"`
}

const (
	apiTime = "2006-01-02T15:04:05.000Z"
	// jobAge is how long ago every live job started, and queued how long it had waited; the Instance does not say.
	jobAge = 3200 * time.Millisecond
	queued = 400 * time.Millisecond
)

func (c *call) job() (*response, error) {
	job, err := c.currentJob()
	if err != nil {
		return nil, err
	}
	return jsonResponse(http.StatusOK, c.jobEntity(job)), nil
}

// projectJob is GET /projects/:id/jobs/:job_id. It does not take job tokens.
func (c *call) projectJob() (*response, error) {
	if c.who.user == nil {
		return nil, errUnauthorized
	}
	id, err := strconv.ParseInt(c.param("job"), 10, 64)
	if err != nil {
		return nil, badParameter("job_id is invalid")
	}
	project, err := c.readableProject()
	if err != nil {
		return nil, err
	}
	if project.PrivatePipelines && !c.mayReadInside(project) {
		return nil, errForbidden
	}
	job := c.st.jobs[id]
	if job == nil || job.Project != project.ID {
		return nil, errNoRecord
	}
	return jsonResponse(http.StatusOK, c.jobEntity(job)), nil
}

func (c *call) jobEntity(job *Job) jobEntity {
	project := c.st.projects[job.Project]
	web := c.base + "/" + project.Path
	started := c.now.UTC().Add(-jobAge)
	created := started.Add(-queued).Format(apiTime)
	sha := job.Pipeline.sha()
	name := job.Name
	if name == "" {
		name = "deploy"
	}
	entity := jobEntity{
		ID: job.ID, Status: job.Status, Stage: "deploy", Name: name, Ref: job.Pipeline.Ref, Tag: job.Pipeline.tag(),
		CreatedAt: created, StartedAt: started.Format(apiTime),
		Duration: jobAge.Seconds(), QueuedDuration: queued.Seconds(),
		User:   c.userEntity(c.st.users[job.User]),
		Commit: commitOf(sha),
		Pipeline: pipelineEntity{
			ID: job.Pipeline.ID, IID: 1, ProjectID: project.ID, SHA: sha, Ref: job.Pipeline.Ref, Status: "running",
			Source: job.Pipeline.source(), CreatedAt: created, UpdatedAt: created,
			WebURL: fmt.Sprintf("%s/-/pipelines/%d", web, job.Pipeline.ID),
		},
		WebURL:    fmt.Sprintf("%s/-/jobs/%d", web, job.ID),
		Runner:    &runnerEntity{ID: job.Runner},
		Artifacts: []string{}, TagList: []string{},
	}
	if job.finished() {
		entity.FinishedAt = new(c.now.UTC().Format(apiTime))
	}
	if job.Erased {
		entity.ErasedAt = entity.FinishedAt
	}
	if job.Status == "failed" {
		entity.FailureReason = "script_failure"
	}
	return entity
}

// userEntity is nil for a job without a user.
func (c *call) userEntity(u *User) *userEntity {
	if u == nil {
		return nil
	}
	state := "active"
	if u.DeniedReason == DeniedBlocked {
		state = "blocked"
	}
	return &userEntity{ID: u.ID, Username: u.Username, Name: u.Username, State: state, WebURL: c.base + "/" + u.Username}
}

func (j *Job) finished() bool {
	return slices.Contains([]string{"success", "failed", "canceled"}, j.Status)
}

func (p Pipeline) tag() bool { return p.Kind == kindTag }

// sourceRef is the source branch of a merge request, or else the ref.
func (p Pipeline) sourceRef() string {
	if p.Kind == kindMergeRequest {
		return p.SourceBranch
	}
	return p.Ref
}

func (p Pipeline) source() string {
	switch {
	case p.Source != "":
		return p.Source
	case p.Kind == kindMergeRequest:
		return "merge_request_event"
	default:
		return "push"
	}
}

func (p Pipeline) sha() string {
	if p.SHA != "" {
		return p.SHA
	}
	return objectID(fmt.Sprintf("pipeline %d", p.ID))
}

func commitOf(sha string) commitEntity {
	return commitEntity{ID: sha, ShortID: sha[:min(8, len(sha))], Title: "A commit"}
}

// objectID is an id that looks like one of git.
func objectID(of string) string {
	sum := sha1.Sum([]byte(of)) // see the import
	return hex.EncodeToString(sum[:])
}
