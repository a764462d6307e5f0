package doctor_test

import (
	"testing"

	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/jobgate/jobgate/internal/doctor"
	"github.com/jobgate/jobgate/internal/gitlabtest"
)

func ofAgent(id int64, vars ...string) func(*setup) {
	return func(s *setup) {
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
		{name: "the context's", finding: "agent", state: doctor.OK, say: []string{"GitLab lists agent 4", "4, 5, 6, 8, 9"}},
		{name: "no agent at all", arrange: change(withoutAgents), finding: "agent", state: doctor.Failure,
			say: []string{"GitLab lists no agent", `project "acme/web"`, licence}},
		{name: "one that is not listed", arrange: ofAgent(13), finding: "agent", state: doctor.Failure, say: []string{
			"GitLab does not list agent 13", `project "acme/web"`, `environment "prod" ` + environments,
			`same top-level group, "acme"; in another group, or for ci_access.instance, GitLab's administrator`, "GitLab 18.1",
			"among the first 500", "most specific", "a minute or two",
		}, not: []string{none, mergeRequest, unprotected, licence}},
		{name: "of a job without environment", arrange: ofAgent(13, "CI_ENVIRONMENT_NAME", ""), finding: "agent", state: doctor.Failure,
			say: []string{none}, not: []string{environments}},
		{name: "of a merge request", arrange: ofAgent(13, "CI_PIPELINE_SOURCE", "merge_request_event", "CI_COMMIT_REF_PROTECTED", "false"),
			finding: "agent", state: doctor.Failure, say: []string{mergeRequest}, not: []string{unprotected}},
		{name: "of an unprotected ref", arrange: ofAgent(13, "CI_COMMIT_REF_PROTECTED", "false", "CI_COMMIT_REF_NAME", "feature"),
			finding: "agent", state: doctor.Failure, say: []string{`ref "feature" is not protected`}, not: []string{mergeRequest}},
		{name: "without a licence", arrange: func(s *setup) {
			s.update(func(w *gitlabtest.Instance) { w.Settings.Licensed = false })
			s.options.AgentID = 4
		}, finding: "agent", state: doctor.Failure, say: []string{licence}},
		{name: "no answer of GitLab's", arrange: (*setup).endJob, finding: "agent", state: doctor.NotChecked,
			say: []string{"GitLab has not said"}},
		{name: "none is chosen", arrange: func(s *setup) {
			s.writeKubeconfig(func(c *clientcmdapi.Config) { c.CurrentContext = "" })
		}, finding: "agent", state: doctor.NotChecked, say: []string{"it is unknown which agent to check", "4, 5, 6, 8, 9"}},
		{name: "the only one", arrange: func(s *setup) {
			s.update(func(w *gitlabtest.Instance) { w.Agents = w.Agents[:1] })
			s.vars["KUBECONFIG"] = "/nonexistent"
		}, finding: "agent", state: doctor.OK, say: []string{"agent 4"}},
		{name: "a name that holds the token", arrange: func(s *setup) {
			s.options.AgentID = 13
			s.vars["CI_ENVIRONMENT_NAME"] = s.token
		}, finding: "agent", state: doctor.Failure, say: []string{`environment "[token]"`}},
	}
	for _, row := range rows {
		t.Run(row.name, row.check)
	}
}

func TestRun_Access(t *testing.T) {
	rows := []row{
		{name: "ci_job", finding: "access", state: doctor.OK, say: []string{
			"access_as ci_job: user gitlab:ci_job:1001", "gitlab:project_env:150:prod",
		}},
		{name: "agent", arrange: ofAgent(5), finding: "access", state: doctor.OK, say: []string{
			"user gitlab:agent:5, or the ServiceAccount", "this same user, with ci_access.instance every job of the GitLab instance",
		}},
		{name: "impersonate", arrange: ofAgent(6), finding: "access", state: doctor.OK,
			say: []string{`user "bot", groups "deployers", if the cluster's admin allows`}},
		{name: "a mode that jobgate does not know", arrange: ofAgent(8), finding: "access", state: doctor.Failure,
			say: []string{`unknown mode "ci_user"`, "correct access_as"}},
		{name: "a wildcard that matches", arrange: ofAgent(9), finding: "access", state: doctor.OK, say: []string{"gitlab:ci_job:1001"}},
		{name: "a wildcard that jobgate reads more strictly", arrange: func(s *setup) {
			s.update(func(w *gitlabtest.Instance) { w.Job(jobID).Environment = "preprod" })
			s.vars["CI_ENVIRONMENT_NAME"], s.options.AgentID = "preprod", 9
		}, finding: "access", state: doctor.Warning, say: []string{
			`it refuses every request: the ci_access entry of agent 9`, `it is for environments "prod*", and the job's is "preprod"`,
		}},
		{name: "an agent that is open to the whole instance", arrange: func(s *setup) {
			s.update(func(w *gitlabtest.Instance) {
				w.Settings.OrganizationAuthorization = true
				w.Agents[5].Config = "ci_access: {instance: {}}"
			})
			s.options.AgentID = 13
		}, finding: "access", state: doctor.OK, say: []string{"user gitlab:agent:13", "with ci_access.instance every job of the GitLab instance"}},
		{name: "an identity that no admin can allow", arrange: func(s *setup) {
			s.update(func(w *gitlabtest.Instance) {
				w.Agents[2].Config = "ci_access:\n  projects:\n  - id: acme/web\n    access_as: {impersonate: " +
					"{username: bot, extra: [{key: agent.gitlab.com/id, val: [x]}]}}\n"
			})
			s.options.AgentID = 6
		}, finding: "access", state: doctor.Failure, say: []string{`extra key "agent.gitlab.com/id"`}},
		{name: "one that is not listed", arrange: ofAgent(13), finding: "access", state: doctor.NotChecked,
			say: []string{"there is no agent that GitLab lists"}},
	}
	for _, row := range rows {
		t.Run(row.name, row.check)
	}
}
