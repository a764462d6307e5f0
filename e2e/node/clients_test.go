//go:build node

package node_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jobgate/jobgate/internal/gitlabtest"
)

// shop is a Deployment whose pods say which release they are of. They use the machine's network, see web.
const shop = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop, release: "RELEASE"}}
    spec:
      hostNetwork: true
      terminationGracePeriodSeconds: 1
      tolerations: [{operator: Exists}]
      containers:
      - name: shop
        image: ` + toolsImage + `
        imagePullPolicy: Never
        command: [sh, -c, "echo release RELEASE; exec sleep infinity"]
`

// clients are the scripts of CI jobs that deploy shop with other means than kubectl apply. Each leaves nothing behind. helm does not wait
// for the end of a release's last pods, which would still count when it is rolled back to.
var clients = []struct{ name, script string }{
	{name: "helm installs, upgrades, rolls back and uninstalls", script: `
released() {
  kubectl wait --for=delete pod --selector="app=shop,release!=$1" --timeout=5m
  kubectl logs deployment/shop --all-pods | grep -x -c ".*release $1" | grep -x 2
}
helm install shop chart --set release=1 --wait --timeout 5m
released 1
helm upgrade shop chart --set release=2 --wait --timeout 5m
released 2
helm rollback shop 1 --wait --timeout 5m
released 1
helm history shop | grep 'Rollback to 1'
helm uninstall shop --wait --timeout 5m
test -z "$(kubectl get deployments --selector=app.kubernetes.io/managed-by=Helm --output=name)"`},
	{name: "kustomize", script: `
kubectl apply -k kustomize
kubectl rollout status deployment/shop-of-kustomize --timeout=5m
kubectl delete -k kustomize --timeout=5m`},
	{name: "server-side apply", script: `
kubectl apply --server-side -f kustomize/shop.yaml
kubectl rollout status deployment/shop --timeout=5m
kubectl diff --server-side -f kustomize/shop.yaml
kubectl delete -f kustomize/shop.yaml --timeout=5m`},
}

func TestClients_DeployAsAJob(t *testing.T) {
	installed(t)
	for _, c := range clients {
		t.Run(c.name, func(t *testing.T) {
			j := runJob(t, gitlabtest.Job{Environment: "prod"})
			succeed(t, j.Workspace, "config", "set-context", "--current", "--namespace=web")
			for file, text := range map[string]string{
				"chart/Chart.yaml":          "apiVersion: v2\nname: shop\nversion: 1.0.0\n",
				"chart/templates/shop.yaml": strings.ReplaceAll(shop, "RELEASE", "{{ .Values.release }}"),
				"kustomize/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n" +
					"nameSuffix: -of-kustomize\nresources: [shop.yaml]\n",
				"kustomize/shop.yaml": shop,
			} {
				file = filepath.Join(j.Dir, file)
				must(t, os.MkdirAll(filepath.Dir(file), 0o755))
				must(t, os.WriteFile(file, []byte(text), 0o600))
			}
			if result := script(t, j.Workspace, "PATH="+filepath.Dir(site.programs.Helm)+":$PATH\n"+c.script); !result.OK() {
				t.Errorf("%s", result)
			}
		})
	}
}
