package gitlabtest

import (
	"crypto/sha1" // a git object id, not a secret
	"encoding/hex"
	"fmt"
	"net/http"
	"time"
)

// jobEntity is the answer of GET /job (API::Entities::Ci::Job, lib/api/entities/ci/job.rb). It says no protection, no
// environment and no project path but in its URLs.
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
	User              userEntity     `json:"user"`
	Commit            commitEntity   `json:"commit"`
	Pipeline          pipelineEntity `json:"pipeline"`
	WebURL            string         `json:"web_url"`
	Project           jobProject     `json:"project"`
	Artifacts         []string       `json:"artifacts"`
	Runner            *string        `json:"runner"`
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
	project := c.st.projects[job.Project]
	web := c.base + "/" + project.Path
	started := c.now.UTC().Add(-jobAge)
	created := started.Add(-queued).Format(apiTime)
	sha := job.Pipeline.sha()
	name := job.Name
	if name == "" {
		name = "deploy"
	}
	return jsonResponse(http.StatusOK, jobEntity{
		ID: job.ID, Status: job.Status, Stage: "deploy", Name: name, Ref: job.Pipeline.Ref, Tag: job.Pipeline.tag(),
		CreatedAt: created, StartedAt: started.Format(apiTime),
		Duration: jobAge.Seconds(), QueuedDuration: queued.Seconds(),
		User: userEntity{
			ID: c.who.user.ID, Username: c.who.user.Username, Name: c.who.user.Username, State: "active",
			WebURL: c.base + "/" + c.who.user.Username,
		},
		Commit: commitOf(sha),
		Pipeline: pipelineEntity{
			ID: job.Pipeline.ID, IID: 1, ProjectID: project.ID, SHA: sha, Ref: job.Pipeline.Ref, Status: "running",
			Source: job.Pipeline.source(), CreatedAt: created, UpdatedAt: created,
			WebURL: fmt.Sprintf("%s/-/pipelines/%d", web, job.Pipeline.ID),
		},
		WebURL:    fmt.Sprintf("%s/-/jobs/%d", web, job.ID),
		Artifacts: []string{}, TagList: []string{},
	}), nil
}

func (p Pipeline) tag() bool { return p.Kind == kindTag }

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

// objectID is an id in the form of git's.
func objectID(of string) string {
	sum := sha1.Sum([]byte(of)) // see the import
	return hex.EncodeToString(sum[:])
}
