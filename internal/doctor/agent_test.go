package doctor_test

import (
	"testing"

	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/jobgate/jobgate/internal/doctor"
	"github.com/jobgate/jobgate/internal/gitlabtest"
)

func ofAgent(id int64, vars ...string) func(*scene) {
	return func(s *scene) {
		s.options.AgentID = id
		for i := 0; i < len(vars); i += 2 {
			s.vars[vars[i]] = vars[i+1]
		}
	}
}

func withoutAgents(w *gitlabtest.Instance) { w.Agents = nil }

func TestRun_Agent(t *testing.T) {
	const (
		environments = "must match the entry's environments"
		none         = "the job has no environment"
		mergeRequest = "never admits a merge request's pipeline"
		unprotected  = "is not protected"
		licence      = "without a Premium licence"
	)
	rows := []row{
		{"the context's", func(*scene) {}, "agent", doctor.OK, []string{"GitLab lists agent 4", "4, 5, 6, 8, 9"}, nil},
		{"no agent at all", change(withoutAgents), "agent", doctor.Failure, []string{"GitLab lists no agent", `project "acme/web"`, licence}, nil},
		{"one that is not listed", ofAgent(13), "agent", doctor.Failure, []string{
			"GitLab does not list agent 13", `project "acme/web"`, `environment "prod" ` + environments,
			`same top-level group, "acme"; in another group, or for ci_access.instance, GitLab's administrator`, "GitLab 18.1",
			"among the first 500", "most specific", "a minute or two",
		}, []string{none, mergeRequest, unprotected, licence}},
		{"of a job without environment", ofAgent(13, "CI_ENVIRONMENT_NAME", ""), "agent", doctor.Failure, []string{none}, []string{environments}},
		{"of a merge request", ofAgent(13, "CI_PIPELINE_SOURCE", "merge_request_event", "CI_COMMIT_REF_PROTECTED", "false"),
			"agent", doctor.Failure, []string{mergeRequest}, []string{unprotected}},
		{"of an unprotected ref", ofAgent(13, "CI_COMMIT_REF_PROTECTED", "false", "CI_COMMIT_REF_NAME", "feature"),
			"agent", doctor.Failure, []string{`ref "feature" is not protected`}, []string{mergeRequest}},
		{"without a licence", func(s *scene) {
			s.update(func(w *gitlabtest.Instance) { w.Settings.Licensed = false })
			s.options.AgentID = 4
		}, "agent", doctor.Failure, []string{licence}, nil},
		{"no answer of GitLab's", (*scene).endJob, "agent", doctor.NotChecked, []string{"GitLab has not said"}, nil},
		{"none is chosen", func(s *scene) {
			s.writeKubeconfig(func(c *clientcmdapi.Config) { c.CurrentContext = "" })
		}, "agent", doctor.NotChecked, []string{"it is unknown which agent to check", "4, 5, 6, 8, 9"}, nil},
		{"the only one", func(s *scene) {
			s.update(func(w *gitlabtest.Instance) { w.Agents = w.Agents[:1] })
			s.vars["KUBECONFIG"] = "/nonexistent"
		}, "agent", doctor.OK, []string{"agent 4"}, nil},
		{"a name that holds the token", func(s *scene) {
			s.options.AgentID = 13
			s.vars["CI_ENVIRONMENT_NAME"] = s.token
		}, "agent", doctor.Failure, []string{`environment "[token]"`}, nil},
	}
	for _, row := range rows {
		t.Run(row.name, row.check)
	}
}

func TestRun_Access(t *testing.T) {
	rows := []row{
		{"ci_job", func(*scene) {}, "access", doctor.OK, []string{
			"access_as ci_job: user gitlab:ci_job:1001", "gitlab:project_env:150:prod",
		}, nil},
		{"agent", ofAgent(5), "access", doctor.OK, []string{
			"user gitlab:agent:5, or the ServiceAccount", "this same user, with ci_access.instance every job of the GitLab instance",
		}, nil},
		{"impersonate", ofAgent(6), "access", doctor.OK, []string{`user "bot", groups "deployers", if the cluster's admin allows`}, nil},
		{"a mode that jobgate does not know", ofAgent(8), "access", doctor.Failure, []string{`unknown mode "ci_user"`, "correct access_as"}, nil},
		{"a wildcard that matches", ofAgent(9), "access", doctor.OK, []string{"gitlab:ci_job:1001"}, nil},
		{"a wildcard that jobgate reads more strictly", func(s *scene) {
			s.update(func(w *gitlabtest.Instance) { w.Job(jobID).Environment = "preprod" })
			s.vars["CI_ENVIRONMENT_NAME"], s.options.AgentID = "preprod", 9
		}, "access", doctor.Warning, []string{
			`it refuses every request: the ci_access entry of agent 9`, `it is for environments "prod*", and the job's is "preprod"`,
		}, nil},
		{"an identity that no admin can allow", func(s *scene) {
			s.update(func(w *gitlabtest.Instance) {
				w.Agents[2].Config = "ci_access:\n  projects:\n  - id: acme/web\n    access_as: {impersonate: " +
					"{username: bot, extra: [{key: agent.gitlab.com/id, val: [x]}]}}\n"
			})
			s.options.AgentID = 6
		}, "access", doctor.Failure, []string{`extra key "agent.gitlab.com/id"`}, nil},
		{"one that is not listed", ofAgent(13), "access", doctor.NotChecked, []string{"there is no agent that GitLab lists"}, nil},
	}
	for _, row := range rows {
		t.Run(row.name, row.check)
	}
}
