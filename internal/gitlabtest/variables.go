package gitlabtest

import (
	"fmt"
	"path"
	"strconv"
	"strings"
)

// Variables are the predefined CI/CD variables of the job, as NAME=value (doc/ci/variables/predefined_variables.md), as
// far as they concern who and where the job is. KUBECONFIG is not among them: Kubeconfig has its content.
func (s *Server) Variables(jobID int64) ([]string, error) {
	st := s.state.Load()
	job := st.jobs[jobID]
	if job == nil {
		return nil, fmt.Errorf("job %d: %w", jobID, ErrNoJob)
	}
	project := st.projects[job.Project]
	root, _, _ := strings.Cut(project.Path, "/")
	variables := []string{
		"CI=true", "GITLAB_CI=true", "CI_SERVER_URL=" + s.url, "CI_API_V4_URL=" + s.url + "/api/v4",
		"CI_JOB_ID=" + strconv.FormatInt(job.ID, 10), "CI_JOB_TOKEN=" + job.Token,
		"CI_PIPELINE_ID=" + strconv.FormatInt(job.Pipeline.ID, 10), "CI_PIPELINE_SOURCE=" + job.Pipeline.source(),
		"CI_PROJECT_ID=" + strconv.FormatInt(project.ID, 10), "CI_PROJECT_PATH=" + project.Path,
		"CI_PROJECT_NAMESPACE=" + path.Dir(project.Path), "CI_PROJECT_ROOT_NAMESPACE=" + root,
		"CI_COMMIT_REF_NAME=" + job.Pipeline.sourceRef(), "CI_COMMIT_SHA=" + job.Pipeline.sha(),
		"CI_COMMIT_REF_PROTECTED=" + strconv.FormatBool(*job.Protected),
	}
	if e := st.environment(job); e != nil {
		variables = append(variables, "CI_ENVIRONMENT_NAME="+e.Name, "CI_ENVIRONMENT_SLUG="+e.Slug, "CI_ENVIRONMENT_TIER="+e.Tier)
	}
	return variables, nil
}
