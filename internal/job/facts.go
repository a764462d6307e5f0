package job

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/jobgate/jobgate/internal/gitlab"
)

// FactSource teaches what a lookup does not say. *gitlab.RefusedError means that the credential may not learn it,
// gitlab.ErrNotFound that there is nothing to learn; any other error, that it could not be asked now.
type FactSource interface {
	// HasAccessToken says whether Access is a credential.
	HasAccessToken() bool
	// Access is the instance's own access token, for what a job token may not learn.
	Access() gitlab.Credential
	CurrentJob(ctx context.Context, jobToken string, urgency gitlab.Urgency) (*gitlab.CurrentJob, error)
	BranchProtected(ctx context.Context, c gitlab.Credential, projectID int64, branch string) (bool, error)
	TagProtected(ctx context.Context, c gitlab.Credential, projectID int64, tag string) (bool, error)
	BranchListed(ctx context.Context, jobToken string, projectID int64, branch string) (bool, error)
	EnvironmentName(ctx context.Context, c gitlab.Credential, projectID int64, slug string) (string, error)
}

// Needs are the facts that rules ask for. The zero value asks for none.
type Needs struct {
	EnvironmentName bool
	Protection      bool // of the ref, and its name
}

func (n Needs) or(m Needs) Needs {
	return Needs{EnvironmentName: n.EnvironmentName || m.EnvironmentName, Protection: n.Protection || m.Protection}
}

// Hints for whoever reads a refusal that an unknown fact caused.
const (
	hintEnvironments = "the job token may not read the project's environments; allow it in the project's job token permissions, " +
		"or give jobgate an access token with read_api (gitlab.tokenFile)"
	hintProtection = "the job token may not read the project's branches; give jobgate an access token with read_api (gitlab.tokenFile)"
	hintTags       = "a job token may not read whether a tag is protected; give jobgate an access token with read_api (gitlab.tokenFile)"
	hintAccess     = "jobgate's access token (gitlab.tokenFile) may not read the project; give it read_api there"
)

// learner asks for the facts of one job that are not known yet.
type learner struct {
	source FactSource
	token  string
	job    *Job
}

// learn returns the job's facts, adding to those known before what the needs ask for. Both facts are asked for at once.
// What GitLab refuses leaves a hint in its place; what could not be asked leaves nothing, and is asked with the next
// refresh.
func (l *learner) learn(ctx context.Context, before Facts, needs Needs) Facts {
	facts := before
	var both sync.WaitGroup
	if needs.EnvironmentName && l.job.Environment != nil && before.EnvironmentName == "" && before.EnvironmentUnknown == "" {
		both.Go(func() { facts.EnvironmentName, facts.EnvironmentUnknown = l.environment(ctx) })
	}
	if needs.Protection && before.RefProtected == ProtectionNotKnown && before.ProtectionUnknown == "" {
		both.Go(func() { facts.Ref, facts.RefProtected, facts.ProtectionUnknown = l.protection(ctx) })
	}
	both.Wait()
	return facts
}

// environment asks with the job token first: it is the narrower credential, and it is enough unless the project's
// permissions say otherwise.
func (l *learner) environment(ctx context.Context) (name, unknown string) {
	slug, hint := l.job.Environment.Slug, hintEnvironments
	name, err := l.source.EnvironmentName(ctx, gitlab.JobToken(l.token), l.job.ProjectID, slug)
	if isRefused(err) && l.source.HasAccessToken() {
		hint = hintAccess
		name, err = l.source.EnvironmentName(ctx, l.source.Access(), l.job.ProjectID, slug)
	}
	switch {
	case err == nil:
		return name, ""
	case isRefused(err):
		return "", hint
	case errors.Is(err, gitlab.ErrNotFound):
		return "", "the project has no environment of the job's slug any more"
	default:
		return "", ""
	}
}

func (l *learner) protection(ctx context.Context) (ref string, p Protection, unknown string) {
	current, err := l.source.CurrentJob(ctx, l.token, gitlab.Login)
	if err != nil {
		return "", ProtectionNotKnown, ""
	}
	// A merge request's pipeline runs on a ref of its own, or, in older releases, under its source branch's name. GitLab's
	// filter judges the former unprotected, and the latter is code that nobody has approved yet.
	if strings.HasPrefix(current.PipelineRef, "refs/merge-requests/") || current.Source == "merge_request_event" {
		return current.PipelineRef, Unprotected, ""
	}
	isProtected, hint, err := l.askProtection(ctx, current)
	switch {
	case err == nil && isProtected:
		return current.Ref, Protected, ""
	case err == nil:
		return current.Ref, Unprotected, ""
	case isRefused(err):
		return current.Ref, ProtectionNotKnown, hint
	case errors.Is(err, gitlab.ErrNotFound):
		return current.Ref, ProtectionNotKnown, fmt.Sprintf("ref %.64q does not exist any more", current.Ref)
	default:
		return current.Ref, ProtectionNotKnown, ""
	}
}

func (l *learner) askProtection(ctx context.Context, current *gitlab.CurrentJob) (is bool, hint string, err error) {
	switch {
	case current.Tag && l.source.HasAccessToken():
		is, err = l.source.TagProtected(ctx, l.source.Access(), l.job.ProjectID, current.Ref)
		return is, hintAccess, err
	case current.Tag:
		return false, hintTags, &gitlab.RefusedError{}
	case l.source.HasAccessToken():
		is, err = l.source.BranchProtected(ctx, l.source.Access(), l.job.ProjectID, current.Ref)
		return is, hintAccess, err
	default:
		is, err = l.source.BranchListed(ctx, l.token, l.job.ProjectID, current.Ref)
		return is, hintProtection, err
	}
}

func isRefused(err error) bool {
	var refused *gitlab.RefusedError
	return errors.As(err, &refused)
}
