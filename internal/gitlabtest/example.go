package gitlabtest

// Ids of Example.
const (
	ExampleRootGroup    = 23 // group1
	ExampleGroup        = 25 // group1/group1-1
	ExampleProject      = 150
	ExampleAgentProject = 7
	ExampleUser         = 9
	ExampleAgent        = 4
	ExampleJob          = 1001
	ExamplePipeline     = 501
)

// ExampleToken is the access token of Example, with the scope read_api.
const ExampleToken = "glpat-ExampleExampleExa"

// Example is the instance of GitLab's page on impersonating jobs, for tests to start from and change: a running job in
// environment prod of the project group1/group1-1/project1, on its protected branch main, by a developer. One agent, of
// another project in group1, is open to the project's jobs as ci_job.
func Example() Instance {
	return Instance{
		Settings: Settings{Licensed: true},
		Groups: []Group{
			{ID: ExampleRootGroup, Path: "group1"},
			{ID: ExampleGroup, Parent: ExampleRootGroup, Path: "group1/group1-1"},
		},
		Projects: []Project{
			{
				ID: ExampleProject, Group: ExampleGroup, Path: "group1/group1-1/project1",
				Branches: []string{"main", "feature/x"}, ProtectedBranches: []string{"main", "release-*"},
				Tags: []string{"v1.0", "nightly"}, ProtectedTags: []string{"v*"},
				Environments: []Environment{{ID: 11, Name: "prod"}, {ID: 12, Name: "review/fix-foo"}},
			},
			{ID: ExampleAgentProject, Group: ExampleRootGroup, Path: "group1/agents"},
		},
		Users: []User{{ID: ExampleUser, Username: "jdoe", Access: map[int64]int{ExampleProject: 30}}},
		Agents: []Agent{{
			ID: ExampleAgent, Name: "prod-agent", Project: ExampleAgentProject,
			Config: "ci_access: {projects: [{id: group1/group1-1/project1, access_as: {ci_job: {}}}]}",
		}},
		Jobs: []Job{{
			ID: ExampleJob, Project: ExampleProject, User: ExampleUser, Status: "running", Environment: "prod",
			Pipeline: Pipeline{ID: ExamplePipeline, Ref: "main"},
		}},
		Tokens: []AccessToken{{Token: ExampleToken, User: ExampleUser, Scopes: []string{"read_api"}}},
	}
}
