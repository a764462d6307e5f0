package e2e_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jobgate/jobgate/internal/gitlabtest"
)

const lonelyRights = `
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: lonely, namespace: author}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: author}
subjects:
- {apiGroup: rbac.authorization.k8s.io, kind: Group, name: "gitlab:project:193"}
`

// A cluster that no agent represents, and a project for which GitLab lists none: init, the include, a deployment with each kind
// of token, and the end of the job. While the ID token is in use, GitLab has no endpoint for agents at all.
func TestInit_AClusterWithoutAnyAgent(t *testing.T) {
	authors(t)
	apply(t, lonelyRights)
	putBack(t, admin(t), "delete", "rolebinding", "lonely", "--namespace="+authorNamespace)
	updateGitLab(t, func(w *gitlabtest.Instance) {
		for _, u := range w.Users {
			if u.ID == reader {
				u.Access[lonelyProject] = 20
			}
		}
	})
	n := newNode(t, "init-grants")
	tokenFile := filepath.Join(filepath.Dir(n.dir), "gitlab-token")
	writeFile(t, filepath.Dir(tokenFile), filepath.Base(tokenFile), []byte(readerToken+"\n"))
	n.withoutAgents("--cluster="+grantCluster, fmt.Sprintf("--grant-project=%d", lonelyProject),
		"--id-token-audience="+grantAudience, "--gitlab-token-file="+tokenFile)
	n.mustInit(t)
	// The default of 10 s would only make the test wait.
	writeFile(t, n.dir, "config.yaml", []byte(n.read(t, "config.yaml")+"cache: {freshFor: 2s}\n"))
	n.startJobgate(t)
	n.startAPIServer(t, "kube-apiserver-init-grants")

	include := hidden(t, includeFile, nil).script()
	var deployed []job
	for _, row := range []struct {
		name      string
		isIDToken bool
	}{{name: "job token"}, {name: "ID token", isIDToken: true}} {
		t.Run(row.name, func(t *testing.T) {
			j := authorJob(t, gitlabtest.Job{Project: lonelyProject}, "JOBGATE_CLUSTER="+grantCluster, "JOBGATE_URL="+n.server.URL, "KUBECONFIG=")
			script, token := include, "ci:"+grantCluster+":"+j.Token
			if row.isIDToken {
				unwell(t, gitlabtest.Fault{Endpoint: gitlabtest.AllowedAgents, Status: http.StatusNotFound})
				token = idToken(t, j)
				script = "export PROD_TOKEN=" + token + " JOBGATE_ID_TOKEN_VARIABLE=PROD_TOKEN\n" + include
			}
			name := fmt.Sprintf("web-%d", j.ID)
			putBack(t, admin(t), "delete", "deployment", name, "--namespace="+authorNamespace)
			result := j.shell(t, script+"\nkubectl create deployment "+name+" --image=nginx --namespace="+authorNamespace)
			if !result.OK() || !strings.Contains(result.Stdout+result.Stderr, "as "+j.username()) {
				t.Fatalf("the job did not deploy: %s", result)
			}
			j.Workspace = bearer(t, n.server, token)
			deployed = append(deployed, j)
		})
	}
	for _, j := range deployed {
		j.end(t)
	}
	for _, j := range deployed {
		ended(j).soon(t, j.Workspace, "get --raw /api/v1/namespaces/"+authorNamespace+"/configmaps")
	}
}
