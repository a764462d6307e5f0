package e2e_test

import (
	"testing"

	"github.com/jobgate/jobgate/internal/config"
	"github.com/jobgate/jobgate/internal/gitlabtest"
	"github.com/jobgate/jobgate/internal/policy"
)

// Each requirement is asked for in the namespace of its name.
func TestRestriction_EachRequirement(t *testing.T) {
	in := func(environment string) gitlabtest.Job { return gitlabtest.Job{Environment: environment} }
	on := func(pipeline gitlabtest.Pipeline) gitlabtest.Job { return gitlabtest.Job{Pipeline: pipeline} }
	tests := []struct {
		name      string
		namespace string
		job       gitlabtest.Job
		want      outcome
	}{
		{"environment by its name", "environment", in("production"), isAllowed},
		{"environment by its full name", "environment", in("eu/prod"), isAllowed},
		{"another environment", "environment", in("staging"),
			`its environment must be one of "production", "eu/*", and the job's is "staging"`},
		{"environment that is called like another's slug", "environment",
			gitlabtest.Job{Project: forgerProject, Environment: slugOfEUProd}, `and the job's is "eu-prod-lb01nz"`},
		{"no environment", "environment", in(""), "and the job has none"},
		{"any environment", "any-environment", in("my-review/1"), isAllowed},
		{"any environment, and there is none", "any-environment", in(""), `one of "*", and the job has none`},

		{"tier", "tier", in("production"), isAllowed},
		{"another tier", "tier", in("staging"),
			`its environment's tier must be one of "production", and the job's is "staging"`},
		{"no tier", "tier", in(""), "and the job has no environment"},

		{"protected branch", "ref", on(onMain), isAllowed},
		{"unprotected branch", "ref", on(onFeature), `its ref must be protected, and the job's ref "feature" is not protected`},
		{"merge request", "ref", on(onMerge), "a merge request's pipeline, which never counts as protected"},
		{"protected tag", "ref", on(onTag), isAllowed},

		{"project", "project", gitlabtest.Job{Project: projectOne}, isAllowed},
		{"another project", "project", in(""), "its project must be one of 161, 162"},
		{"group", "group", in(""), isAllowed},
		{"another group", "other-group", in(""), "its project must be in one of the groups 31"},
		{"role", "role", gitlabtest.Job{User: maintainer}, isAllowed},
		{"another role", "role", in(""), `its user must have one of the roles "maintainer", "owner" in the project`},

		{"all at once", "everything",
			gitlabtest.Job{User: maintainer, Environment: "production", Pipeline: onMain}, isAllowed},
		{"all but one", "everything",
			gitlabtest.Job{User: maintainer, Environment: "production", Pipeline: onFeature},
			`do this: its ref must be protected, and the job's ref "feature" is not protected`},
		{"none of them", "everything", gitlabtest.Job{Project: projectOne, Environment: "staging", Pipeline: onFeature},
			`and the job's is "staging"; its ref must be protected, and the job's ref "feature" is not protected; ` +
				`its project must be one of 160, and the job's is 161; its user must have one of the roles "maintainer" in the project`},
		{"a namespace without restriction", "shop", in(""), isAllowed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			j := presenting(t, requiringAgent, test.job)
			test.want.of(t, j.Workspace, listConfigMaps(test.namespace))
		})
	}
}

func listConfigMaps(namespace string) string {
	return "get --raw /api/v1/namespaces/" + namespace + "/configmaps"
}

// What a job token may not learn, an access token of jobgate's own may.
func TestRestriction_FactsThatTheJobTokenMayNotLearn(t *testing.T) {
	refuse := func(t *testing.T) {
		withSettings(t, func(s *gitlabtest.Settings) {
			s.RefusesEnvironmentsToJobTokens, s.RefusesBranchesToJobTokens = true, true
		})
	}
	inEUProd := gitlabtest.Job{Environment: "eu/prod"}
	unlisted := gitlabtest.Job{Project: projectOfGroupOne, Environment: "eu/prod"}
	tests := []struct {
		name      string
		token     string // empty: none
		namespace string
		job       gitlabtest.Job
		want      outcome
	}{
		// Of a project whose environments no other test makes jobgate list: it remembers them for a minute.
		{"environment, no access token", "", "environment", unlisted, `the full name of the job's environment ` +
			`(slug "eu-prod-lb01nz") is not known: the job token may not read the project's environments`},
		{"environment whose slug is the name, which proves nothing", "", "environment",
			gitlabtest.Job{Project: projectOfGroupOne, Environment: "production"},
			"is not known: the job token may not read the project's environments"},
		{"environment, access token", readerToken, "environment", inEUProd, isAllowed},
		{"environment, access token without access", strangerToken, "environment", inEUProd,
			"jobgate's access token (gitlab.tokenFile) may not read the project"},
		{"branch, no access token", "", "ref", gitlabtest.Job{Pipeline: onMain},
			"the job token may not read the project's branches"},
		{"branch, access token", readerToken, "ref", gitlabtest.Job{Pipeline: onMain}, isAllowed},
		{"unprotected branch, access token", readerToken, "ref", gitlabtest.Job{Pipeline: onFeature}, "is not protected"},
		{"tag, access token", readerToken, "ref", gitlabtest.Job{Pipeline: onTag}, isAllowed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			refuse(t)
			if test.token != "" {
				withAccessToken(t, test.token)
			}
			j := presenting(t, requiringAgent, test.job)
			test.want.of(t, j.Workspace, listConfigMaps(test.namespace))
		})
	}
}

// A job of tier staging meets restrictions that all require tier production; which requests they are about differs.
func TestRestriction_EachFilter(t *testing.T) {
	const denied outcome = `its environment's tier must be one of "production", and the job's is "staging"`
	filtering := presenting(t, filteringAgent, gitlabtest.Job{Environment: "staging"})
	star := presenting(t, starAgent, gitlabtest.Job{Environment: "staging"})
	whole := presenting(t, wholeAgent, gitlabtest.Job{Environment: "staging"})
	cluster := presenting(t, clusterAgent, gitlabtest.Job{Environment: "staging"})
	tests := []struct {
		name    string
		job     job
		command string
		want    outcome
	}{
		{"namespace by wildcard", filtering, listConfigMaps("prod-1"), denied},
		{"namespace that the wildcard does not match", filtering, listConfigMaps("prod"), isAllowed},
		{"namespace: all at once", filtering, "get --raw /api/v1/configmaps", isAllowed},
		{"namespace: cluster-scoped", filtering, "get --raw /api/v1/nodes", isAllowed},
		{"verb", filtering, "create configmap a -n verb", denied},
		{"verb: another one listed", filtering, "delete configmap a -n verb", denied},
		{"verb that is not listed", filtering, "get configmaps -n verb", isAllowed},
		{"API group", filtering, "get --raw /apis/apps/v1/namespaces/api-group/deployments", denied},
		{"API group that is not listed", filtering, listConfigMaps("api-group"), isAllowed},
		{"resource", filtering, listConfigMaps("resource"), denied},
		{"resource that is not listed", filtering, "get --raw /api/v1/namespaces/resource/pods", isAllowed},
		{"subresource, asked for", filtering, "auth can-i create pods --subresource=exec -n resource", denied},
		{"subresource, used", filtering, "exec web -n resource -- ls", denied},
		{"subresource of a resource that is free", filtering, "scale deployment web -n resource --replicas=2", denied},
		{"resource of a subresource that is listed", filtering, "get deployment web -n resource", isAllowed},
		{"subresource of another resource", filtering, "scale statefulset web -n resource --replicas=2", isAllowed},
		{"subresource of any resource", filtering, "scale statefulset web -n subresource --replicas=2", denied},
		{"subresource of any resource: the resource", filtering, "get statefulset web -n subresource", isAllowed},
		{"stars", star, probe, denied},
		{"stars: another verb and group", star, "auth can-i delete deployments.apps -n tier", denied},
		{"stars: subresource", star, "auth can-i create pods --subresource=exec -n tier", denied},
		{"stars: cluster-scoped", star, "get --raw /api/v1/nodes", isAllowed},
		{"stars: no resource", star, "get --raw /readyz", isAllowed},
		{"no filter: namespaced", whole, probe, denied},
		{"no filter: cluster-scoped", whole, "get --raw /api/v1/nodes", denied},
		{"no filter: no resource", whole, "get --raw /readyz", denied},
		{"all resources: namespaced", cluster, probe, denied},
		{"all resources: all namespaces at once", cluster, "get --raw /api/v1/configmaps", denied},
		{"all resources: cluster-scoped", cluster, "get nodes", denied},
		{"all resources: no resource", cluster, "get --raw /readyz", isAllowed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.want.of(t, test.job.Workspace, test.command) })
	}
	t.Run("a job that meets the requirement", func(t *testing.T) {
		for _, agent := range []int64{filteringAgent, starAgent, wholeAgent, clusterAgent} {
			j := presenting(t, agent, gitlabtest.Job{Environment: "production"})
			isAllowed.of(t, j.Workspace, listConfigMaps("resource"))
			isAllowed.of(t, j.Workspace, "get --raw /readyz")
		}
	})
	t.Run("agent that no restriction concerns", func(t *testing.T) {
		j := presenting(t, openAgent, gitlabtest.Job{Environment: "staging"})
		isAllowed.of(t, j.Workspace, listConfigMaps("resource"))
		isAllowed.of(t, j.Workspace, "auth can-i create pods --subresource=exec -n resource")
	})
}

// What a job becomes by --as carries no extras, so no restriction would hold it.
func TestRestriction_CannotBeWalkedAroundByImpersonation(t *testing.T) {
	const denied outcome = "may not impersonate, because that would escape restriction"
	tests := []struct {
		name        string
		agent       int64
		environment string
		command     string
		want        outcome
	}{
		{name: "namespaced restriction, its namespace", agent: requiringAgent, environment: "production",
			command: listConfigMaps("tier") + " --as=static-bot", want: denied},
		{name: "namespaced restriction, another namespace", agent: requiringAgent, environment: "production",
			command: probe + " --as=static-bot", want: denied},
		{name: "restriction on resources", agent: clusterAgent, environment: "staging",
			command: "get --raw /version --as=static-bot", want: denied},
		{name: "restriction on resources, and the job meets it", agent: clusterAgent, environment: "production",
			command: "get --raw /version --as=static-bot", want: isAllowed},
		{name: "no restriction", agent: openAgent, environment: "staging", command: probe + " --as=static-bot", want: isAllowed},
		{name: "no restriction, and no right either", agent: openAgent, environment: "staging",
			command: probe + " --as=other-bot", want: isForbidden},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			j := presenting(t, test.agent, gitlabtest.Job{Environment: test.environment})
			test.want.of(t, j.Workspace, test.command)
		})
	}
}

// A restriction about every agent comes and goes while jobs run.
func TestRestriction_TakesEffectWithoutARestart(t *testing.T) {
	j := presenting(t, openAgent, gitlabtest.Job{Environment: "staging"})
	frozen := listConfigMaps("frozen")
	isAllowed.of(t, j.Workspace, frozen)
	t.Run("while it is configured", func(t *testing.T) {
		reconfigure(t, func(c *config.Configuration) {
			c.Restrictions = append(c.Restrictions, policy.Restriction{
				Name: "freeze", Namespaces: []string{"frozen"},
				Require: policy.Requirements{Projects: []int64{projectOne}},
			})
		})
		outcome(`restriction "freeze" does not let`).soon(t, j.Workspace, frozen)
		isAllowed.of(t, j.Workspace, probe)
		outcome("may not impersonate").of(t, j.Workspace, probe+" --as=static-bot")
	})
	isAllowed.soon(t, j.Workspace, frozen)
	isAllowed.soon(t, j.Workspace, probe+" --as=static-bot")
}
