package main

import (
	"fmt"
	"time"

	"github.com/jobgate/jobgate/internal/gitlabtest"
)

const (
	// runningJobs work all the time.
	runningJobs = 100
	// newJobsPerSecond of each kind of credential log in.
	newJobsPerSecond = 2
	// spareSeconds are those before and after the attack.
	spareSeconds = 30

	firstRunning = 10_000
	firstNew     = 20_000
	firstHuge    = 50_000

	// hugeProjects have hugeEnvironments each, with hugeJobs running in each project.
	hugeProjects     = 5
	hugeEnvironments = 3000
	hugeJobs         = 20
	firstHugeProject = 1000

	// hanging begins the job tokens whose lookups GitLab never answers.
	hanging = "glcbt-64_hanging"
)

func agents() []int64 { return []int64{4, 5, 6} }

// instance is a GitLab whose agents are open to the project of the running and new jobs, and to the huge projects, where a
// wildcard that no search narrows decides.
func instance(length time.Duration) gitlabtest.Instance {
	w := gitlabtest.Example()
	access := "ci_access:\n  projects:\n  - {id: group1/group1-1/project1, access_as: {ci_job: {}}}\n"
	w.Jobs, w.Agents = nil, nil
	for i := range runningJobs {
		w.Jobs = append(w.Jobs, newJob(int64(firstRunning+i)))
	}
	for i := range newJobs(length) {
		w.Jobs = append(w.Jobs, newJob(int64(firstNew+i)))
	}
	for p := range hugeProjects {
		path := fmt.Sprintf("group1/huge-%d", p)
		access += fmt.Sprintf("  - {id: %s, environments: ['*e*'], access_as: {ci_job: {}}}\n", path)
		addHugeProject(&w, int64(firstHugeProject+p), path)
	}
	for _, id := range agents() {
		w.Agents = append(w.Agents, gitlabtest.Agent{
			ID: id, Name: fmt.Sprintf("agent-%d", id), Project: gitlabtest.ExampleAgentProject, Config: access,
		})
	}
	return w
}

// newJobs is how many jobs may log in for the first time: with job tokens, and as many with ID tokens.
func newJobs(length time.Duration) int {
	return 2 * newJobsPerSecond * (int(length.Seconds()) + spareSeconds)
}

func newJob(id int64) gitlabtest.Job {
	return gitlabtest.Job{
		ID: id, Project: gitlabtest.ExampleProject, User: gitlabtest.ExampleUser, Status: "running", Environment: "prod",
		Pipeline: gitlabtest.Pipeline{ID: id, Ref: "main"},
	}
}

func addHugeProject(w *gitlabtest.Instance, id int64, path string) {
	project := gitlabtest.Project{ID: id, Group: gitlabtest.ExampleRootGroup, Path: path, Branches: []string{"main"}}
	for i := range hugeEnvironments {
		project.Environments = append(project.Environments, gitlabtest.Environment{Name: fmt.Sprintf("review/%d", i)})
	}
	w.Projects = append(w.Projects, project)
	w.Users[0].Access[id] = 30
	for i := range hugeJobs {
		j := newJob((id-firstHugeProject)*hugeJobs + int64(firstHuge+i))
		j.Project, j.Environment = id, fmt.Sprintf("review/%d", i*hugeEnvironments/hugeJobs)
		w.Jobs = append(w.Jobs, j)
	}
}
