//go:build node

package node_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jobgate/jobgate/internal/gitlabtest"

	"github.com/jobgate/jobgate/e2e/kubectl"
)

// rights are what the cluster's administrator gives to jobs of the project in its environment prod.
const rights = `
apiVersion: v1
kind: Namespace
metadata: {name: web}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: project-150-prod, namespace: web}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: admin}
subjects:
- {apiGroup: rbac.authorization.k8s.io, kind: Group, name: "gitlab:project_env:150:prod"}
`

func grant(t *testing.T) {
	t.Helper()
	apply(t, admin(t), rights)
}

// web is a Deployment that runs on a node whose network is not ready, because pods have no network but the node's here. It counts, repeats
// what it is told on one port, and serves a page on another.
const web = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: web}
spec:
  replicas: 1
  strategy: {type: Recreate}
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      hostNetwork: true
      terminationGracePeriodSeconds: 1
      tolerations: [{operator: Exists}]
      containers:
      - name: web
        image: ` + toolsImage + `
        imagePullPolicy: Never
        command: [sh, -c, "echo line 0; echo hello >/tmp/index.html; nc -ll -p 8081 -e cat & until httpd -p 127.0.0.1:8080 -h /tmp; do sleep 1; done; i=0; while sleep 1; do i=$((i+1)); echo line $i; done"]
        readinessProbe: {exec: {command: [wget, -q, -O, "-", "http://127.0.0.1:8080/"]}, periodSeconds: 1, timeoutSeconds: 10}
`

// deployWeb is what a CI job does.
func deployWeb(t *testing.T, j job) {
	t.Helper()
	apply(t, j.Workspace, web)
	succeed(t, j.Workspace, "rollout", "status", "deployment/web", "--namespace=web", "--timeout=5m")
}

// webJob is a job that has deployed web, and works in that namespace.
func webJob(t *testing.T) job {
	t.Helper()
	installed(t)
	j := runJob(t, gitlabtest.Job{Environment: "prod"})
	succeed(t, j.Workspace, "config", "set-context", "--current", "--namespace=web")
	deployWeb(t, j)
	return j
}

// podOf is the name of the Deployment's one pod.
func podOf(t *testing.T, app string) string {
	t.Helper()
	return strings.TrimSpace(succeed(t, admin(t), "get", "pods", "--namespace=web", "--selector=app="+app, "--output=name"))
}

// script runs lines of shell as a runner does, and lets them fail.
func script(t *testing.T, w *kubectl.Workspace, text string) kubectl.Result {
	t.Helper()
	result, err := w.Script(lasting(t), text)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// reconfigure adds to jobgate's configuration until the test ends, and returns once that is in force.
func reconfigure(t *testing.T, addition string) {
	t.Helper()
	const file = "/etc/kubernetes/jobgate/config.yaml"
	before := typed(t, "cat "+file)
	t.Cleanup(func() { writeConfiguration(t, file, before) })
	writeConfiguration(t, file, before+addition)
}

// writeConfiguration replaces the file as a whole, as an editor does.
func writeConfiguration(t *testing.T, file, text string) {
	t.Helper()
	const applied = `curl --silent --fail http://127.0.0.1:9444/metrics | sed -n 's/^jobgate_config_reloads_total{result="applied"} //p'`
	before := typed(t, applied)
	typed(t, fmt.Sprintf("cat >%[1]s.next <<'END'\n%[2]sEND\njobgate config validate %[1]s.next\nmv %[1]s.next %[1]s", file, text))
	must(t, site.machine.Eventually(lasting(t), fmt.Sprintf(`test "$(%s)" != "%s"`, applied, strings.TrimSpace(before))))
}
