package gitlabtest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"
)

// maxDirectGroups is how many groups of a user ID tokens name. Of a user with more they name none.
const maxDirectGroups = 200

// IDToken is an ID token that GitLab would give the job now (id_tokens: in .gitlab-ci.yml), whether or not the job
// still runs.
func (s *Server) IDToken(jobID int64, audience string) (string, error) {
	claims, err := s.IDTokenClaims(jobID, audience)
	if err != nil {
		return "", err
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("encoding the claims: %w", err)
	}
	return s.Sign(CIKey, nil, payload)
}

// IDTokenClaims are the claims of such a token, for tests that change some before they sign them. The audience is a
// string or a list of strings.
func (s *Server) IDTokenClaims(jobID int64, audience any) (map[string]any, error) {
	st := s.state.Load()
	job := st.jobs[jobID]
	if job == nil {
		return nil, fmt.Errorf("job %d: %w", jobID, ErrNoJob)
	}
	claims := map[string]any{}
	for _, part := range []map[string]any{
		st.projectClaims(job), st.userClaims(job), st.ciClaims(job), st.environmentClaims(job), st.configClaims(job, s.url),
	} {
		maps.Copy(claims, part)
	}
	issued := s.options.Now().Truncate(time.Second)
	claims["iss"] = firstPresent(st.instance.Settings.IDTokenIssuer, s.url)
	claims["sub"] = subject(st.projects[job.Project].IDTokenSubject, claims)
	claims["aud"] = audience
	claims["jti"] = randomUUID()
	claims["iat"], claims["nbf"] = issued.Unix(), issued.Add(-5*time.Second).Unix()
	claims["exp"] = issued.Add(job.Timeout).Unix()
	return claims, nil
}

// subject joins the components that the project has chosen (ci_id_token_sub_claim_components).
func subject(components []string, claims map[string]any) string {
	var parts []string
	for _, name := range components {
		if value, ok := claims[name].(string); ok {
			parts = append(parts, name, value)
		}
	}
	return strings.Join(parts, ":")
}

// projectClaims describe the source project of a merge request as project_* and the project that runs the job as
// job_project_* (lib/json_web_token/user_project_token_claims.rb). Releases before 18.2.2 gave the latter as
// project_*; the job_* claims are there from 18.3 on. The release that began to send source_* is not known exactly.
func (st *state) projectClaims(j *Job) map[string]any {
	running, source := st.projects[j.Project], st.sourceProject(j)
	claims := map[string]any{}
	if st.release.atLeast(18, 2, 2) {
		addProject(claims, "", source)
	} else {
		addProject(claims, "", running)
	}
	if st.release.atLeast(18, 3, 0) {
		addProject(claims, "job_", running)
	}
	if st.release.atLeast(19, 1, 0) {
		addProject(claims, "source_", source)
	}
	return claims
}

func addProject(claims map[string]any, prefix string, p *Project) {
	namespace := p.Group
	if namespace == 0 {
		namespace = p.UserNamespace
	}
	claims[prefix+"project_id"] = strconv.FormatInt(p.ID, 10)
	claims[prefix+"project_path"] = p.Path
	claims[prefix+"namespace_id"] = strconv.FormatInt(namespace, 10)
	claims[prefix+"namespace_path"] = path.Dir(p.Path)
}

// sourceProject is the project of the merge request's source branch, which is a fork if Pipeline.SourceProject says so.
func (st *state) sourceProject(j *Job) *Project {
	if j.Pipeline.SourceProject != 0 {
		return st.projects[j.Pipeline.SourceProject]
	}
	return st.projects[j.Project]
}

// userClaims: the access level is the user's highest role in the source project, so that the owner of a fork is an
// owner.
func (st *state) userClaims(j *Job) map[string]any {
	user := st.users[j.User]
	if user == nil {
		claims := map[string]any{"user_id": "", "user_login": nil, "user_email": nil}
		if st.release.atLeast(16, 9, 0) {
			claims["user_access_level"] = nil
		}
		return claims
	}
	claims := map[string]any{
		"user_id": strconv.FormatInt(user.ID, 10), "user_login": user.Username, "user_email": user.Email,
	}
	if st.release.atLeast(16, 9, 0) {
		claims["user_access_level"] = highestRole(user.Access[st.sourceProject(j).ID])
	}
	if len(user.Identities) > 0 {
		claims["user_identities"] = user.Identities
	}
	if n := len(user.DirectGroups); n > 0 && n <= maxDirectGroups {
		claims["groups_direct"] = user.DirectGroups
	}
	return claims
}

// highestRole is nil for a user who is not a member.
func highestRole(level int) any {
	var role any
	for _, l := range accessLevels {
		if l.level <= level {
			role = l.role
		}
	}
	return role
}

// ciClaims: ids and booleans are strings; runner_id alone is a number.
func (st *state) ciClaims(j *Job) map[string]any {
	p := j.Pipeline
	refType, prefix := "branch", "refs/heads/"
	if p.tag() {
		refType, prefix = "tag", "refs/tags/"
	}
	visibility := "private"
	if st.projects[j.Project].Public {
		visibility = "public"
	}
	claims := map[string]any{
		"pipeline_id": strconv.FormatInt(p.ID, 10), "pipeline_source": p.source(), "job_id": strconv.FormatInt(j.ID, 10),
		"ref": p.sourceRef(), "ref_type": refType, "ref_protected": strconv.FormatBool(*j.Protected),
		"runner_id": j.Runner, "runner_environment": "self-hosted", "sha": p.sha(), "project_visibility": visibility,
	}
	if st.release.atLeast(16, 0, 0) {
		claims["ref_path"] = prefix + p.sourceRef()
	}
	if st.release.atLeast(18, 9, 0) {
		claims["job_source"] = "pipeline"
	}
	return claims
}

// environmentClaims are absent for a job without a persisted environment. The tier is the job's own keyword first and
// the stored one second (app/models/concerns/ci/deployable.rb).
func (st *state) environmentClaims(j *Job) map[string]any {
	e := st.environment(j)
	if e == nil {
		return nil
	}
	return map[string]any{
		"environment":           e.Name,
		"environment_protected": strconv.FormatBool(st.protectsEnvironment(st.projects[j.Project], e.Name)),
		"deployment_tier":       firstPresent(j.DeploymentTier, e.Tier),
		"environment_action":    firstPresent(j.EnvironmentAction, "start"),
	}
}

// configClaims name the file that configured the pipeline (lib/gitlab/ci/jwt_v2/claim_mapper/repository.rb).
func (st *state) configClaims(j *Job, base string) map[string]any {
	host := base
	if u, err := url.Parse(base); err == nil {
		host = u.Host + u.Path
	}
	ref := "refs/heads/" + j.Pipeline.Ref
	switch j.Pipeline.Kind {
	case kindTag:
		ref = "refs/tags/" + j.Pipeline.Ref
	case kindMergeRequest:
		ref = j.Pipeline.Ref
	}
	return map[string]any{
		"ci_config_ref_uri": host + "/" + st.projects[j.Project].Path + "//.gitlab-ci.yml@" + ref,
		"ci_config_sha":     j.Pipeline.sha(),
	}
}
