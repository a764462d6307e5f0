//go:build node

package node_test

import (
	"testing"
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

// web is a Deployment that runs on a node whose network is not ready, because pods have no network but the node's here. It counts, and
// serves a page on the node's loopback address alone.
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
      terminationGracePeriodSeconds: 0
      tolerations: [{operator: Exists}]
      containers:
      - name: web
        image: ` + toolsImage + `
        imagePullPolicy: Never
        command: [sh, -c, "echo hello >/tmp/index.html; httpd -p 127.0.0.1:8080 -h /tmp; i=0; while sleep 1; do i=$((i+1)); echo line $i; done"]
        readinessProbe: {exec: {command: [wget, -q, -O, "-", "http://127.0.0.1:8080/"]}, periodSeconds: 1, timeoutSeconds: 10}
`

// deployWeb is what a CI job does.
func deployWeb(t *testing.T, j job) {
	t.Helper()
	apply(t, j.Workspace, web)
	succeed(t, j.Workspace, "rollout", "status", "deployment/web", "--namespace=web", "--timeout=50s")
}
