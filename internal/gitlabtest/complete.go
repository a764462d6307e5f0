package gitlabtest

import (
	"fmt"
	"path"
	"strings"
	"time"
)

// complete fills in what the Instance's author left to GitLab: namespace ids, environment ids, slugs, tiers, pipelines and
// tokens. It is idempotent.
func complete(w *Instance, version release, mint *tokenMint) error {
	completeNamespaces(w)
	completeEnvironments(w)
	projects := make(map[int64]*Project, len(w.Projects))
	for i := range w.Projects {
		p := &w.Projects[i]
		projects[p.ID] = p
		if len(p.IDTokenSubject) == 0 {
			p.IDTokenSubject = []string{"project_path", "ref_type", "ref"}
		}
	}
	for i := range w.Users {
		if u := &w.Users[i]; u.Email == "" {
			u.Email = u.Username + "@example.com"
		}
	}
	for i := range w.Jobs {
		j := &w.Jobs[i]
		completeJob(j, projects[j.Project])
		if err := completeToken(j, projects[j.Project], version, w.Settings, mint); err != nil {
			return fmt.Errorf("making the token of job %d: %w", j.ID, err)
		}
	}
	return nil
}

// completeNamespaces gives personal projects without a namespace id one: the id of the namespace of the same path, or
// one that is not in use.
func completeNamespaces(w *Instance) {
	byPath := map[string]int64{}
	var highest int64
	for _, g := range w.Groups {
		highest = max(highest, g.ID)
	}
	for _, p := range w.Projects {
		highest = max(highest, p.UserNamespace)
		if p.UserNamespace != 0 {
			byPath[namespacePath(p.Path)] = p.UserNamespace
		}
	}
	for i := range w.Projects {
		p := &w.Projects[i]
		if p.Group != 0 || p.UserNamespace != 0 {
			continue
		}
		namespace := namespacePath(p.Path)
		if byPath[namespace] == 0 {
			highest++
			byPath[namespace] = highest
		}
		p.UserNamespace = byPath[namespace]
	}
}

func namespacePath(project string) string { return strings.ToLower(path.Dir(project)) }

func completeEnvironments(w *Instance) {
	var highest int64
	for _, p := range w.Projects {
		for _, e := range p.Environments {
			highest = max(highest, e.ID)
		}
	}
	for i := range w.Projects {
		for k := range w.Projects[i].Environments {
			e := &w.Projects[i].Environments[k]
			if e.ID == 0 {
				highest++
				e.ID = highest
			}
			if e.Slug == "" {
				e.Slug = environmentSlug(e.Name)
			}
			if e.Tier == "" {
				e.Tier = environmentTier(e.Name)
			}
			if e.State == "" {
				e.State = "available"
			}
		}
	}
}

func completeJob(j *Job, p *Project) {
	if j.Runner == 0 {
		j.Runner = 1
	}
	if j.Timeout == 0 {
		j.Timeout = time.Hour
	}
	if j.Pipeline.ID == 0 {
		j.Pipeline.ID = j.ID
	}
	if j.Pipeline.Ref == "" {
		j.Pipeline.Ref = "main"
	}
	if j.Pipeline.Kind == kindMergeRequest && j.Pipeline.SourceBranch == "" {
		j.Pipeline.SourceBranch = "feature"
	}
	if j.Protected == nil && p != nil {
		j.Protected = new(p.protectedRef(j.Pipeline))
	}
}

func completeToken(j *Job, p *Project, version release, settings Settings, mint *tokenMint) error {
	if j.TokenFormat == "" {
		j.TokenFormat = defaultTokenFormat(j, version)
	}
	if j.Token != "" || p == nil { // a job of no project is reported by validate
		return nil
	}
	if j.TokenFormat != formatJWT {
		j.Token = databaseToken(j.TokenFormat)
		return nil
	}
	if j.TokenExpires.IsZero() {
		j.TokenExpires = mint.now().Add(defaultTokenLifetime)
	}
	j.TokenExpires = j.TokenExpires.Truncate(time.Second)
	token, err := mint.sign(j, p, settings.InstanceTokenPrefix)
	if err != nil {
		return err
	}
	j.Token = token
	return nil
}

func defaultTokenFormat(j *Job, version release) string {
	if j.Token == "" && version.atLeast(19, 0, 0) {
		return formatJWT
	}
	return formatDatabase
}

// Formats of Job.TokenFormat.
const (
	formatDatabase  = "database"
	formatLegacy    = "legacy"
	formatPartition = "partition"
	formatJWT       = "jwt"
)

// jobStatuses are the statuses of a job (Ci::HasStatus, app/models/concerns/ci/has_status.rb).
var jobStatuses = []string{
	"created", "waiting_for_resource", "preparing", "waiting_for_callback", "pending", "running", "success", "failed",
	"canceling", "canceled", "skipped", "manual", "scheduled",
}
