package e2e_test

import (
	"testing"

	"github.com/jobgate/jobgate/internal/gitlabtest"
)

// The doctor of a job without an agent: which requirement of a grant refuses it, and what is wrong with its ID token.
func TestGrants_Doctor(t *testing.T) {
	g := grantsOnly(t)
	const ok, failed, warning, skipped = "ok", "failure", "warning", "not checked"
	const kubeconfig = `jobgate kubeconfig --cluster=` + grantCluster + ` --server="$JOBGATE_URL" --ca="$JOBGATE_CA_FILE"`
	fromMain := gitlabtest.Job{Environment: "production", Pipeline: onMain}
	for _, row := range []struct {
		faultyJob
		claims map[string]any // of an ID token; nil: the job logs in with its job token
	}{
		{faultyJob: faultyJob{name: "job token", job: released(), exitCode: hasWarnings,
			states: map[string]string{"token": ok, "gitlab": ok, "kubeconfig": ok, "agent": skipped, "access": skipped, "tls": ok, "identity": ok},
			says: map[string]string{
				"kubeconfig": "cluster prod, without an agent", "identity": "gitlab:project_env_tier:160:production",
			}}},
		{faultyJob: faultyJob{name: "job token, and a requirement that is not met", job: fromMain, exitCode: hasFailures,
			states: map[string]string{"kubeconfig": ok, "identity": failed, "rights": skipped},
			says:   map[string]string{"identity": `of grant "production": it must run for one of "tag", and the job runs for a branch`}}},
		{faultyJob: faultyJob{name: "ID token", job: released(), exitCode: hasWarnings,
			states: map[string]string{"kubeconfig": ok, "id-token": ok, "agent": skipped, "identity": ok},
			says:   map[string]string{"id-token": `for the audience "` + grantAudience + `", by the issuer "` + site.GitLab.URL()}},
			claims: map[string]any{}},
		{faultyJob: faultyJob{name: "ID token, and a requirement that is not met", job: fromMain, exitCode: hasFailures,
			states: map[string]string{"id-token": ok, "identity": failed},
			says:   map[string]string{"identity": `it must run for one of "tag", and the job runs for a branch`}},
			claims: map[string]any{}},
		{faultyJob: faultyJob{name: "ID token of a fork's merge request", job: released(), exitCode: hasFailures,
			states: map[string]string{"id-token": warning, "identity": failed},
			says: map[string]string{
				"id-token": "in a fork's merge request", "identity": "in a merge request's pipeline, which never counts as protected",
			}}, claims: map[string]any{"project_id": "666", "pipeline_source": "merge_request_event"}},
		{faultyJob: faultyJob{name: "ID token for another cluster", job: released(), exitCode: hasFailures,
			states: map[string]string{"id-token": ok, "identity": failed},
			says:   map[string]string{"id-token": `for the audience "vault"`, "identity": "and idTokens.audience the token's, as id-token shows it"}},
			claims: map[string]any{"aud": "vault"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			j := g.shell(t, row.job)
			row.prelude = kubeconfig
			if row.claims != nil {
				token := signed(t, gitlabtest.CIKey, j, row.claims)
				row.prelude = "export PROD_TOKEN=" + token + "\n" + kubeconfig + " --id-token-variable=PROD_TOKEN"
			}
			row.checkIn(t, j)
		})
	}
}
