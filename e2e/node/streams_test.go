//go:build node

package node_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/jobgate/jobgate/internal/eventually"

	"github.com/jobgate/jobgate/e2e/kubectl"
)

// forward makes a port of the pod one of the job's.
const forward = `kubectl port-forward deployment/web :PORT >ports 2>errors & forward=$!
trap 'kill $forward' EXIT
until [ -s ports ]; do kill -0 $forward || { cat errors >&2; trap - EXIT; exit 1; }; sleep 0.2; done
port=$(sed -n 's/.*127.0.0.1:\([0-9]*\) .*/\1/p' ports)
`

// streams are the scripts of CI jobs that keep a connection open, or pass the kubelet. The current namespace is web's.
var streams = []struct {
	name, script string
	want         string // in what it prints
	connects     bool   // an admission policy is asked; it is not about reads
}{
	{name: "logs", script: "kubectl logs deployment/web", want: "line 0\n"},
	{name: "logs -f", script: "kubectl logs -f --tail=1 deployment/web | head -n 4 | wc -l", want: "4\n"},
	{name: "exec", script: "kubectl exec deployment/web -- echo from the pod", want: "from the pod\n", connects: true},
	{name: "exec -i", script: "echo from the job | kubectl exec -i deployment/web -- cat", want: "from the job\n", connects: true},
	{name: "attach", script: "kubectl attach --quiet deployment/web | head -n 2", want: "line ", connects: true},
	{
		name: "cp",
		script: `pod=$(kubectl get pods --selector=app=web --output=name)
echo there and back >original
kubectl cp original "${pod#pod/}:/tmp/copy"
kubectl cp "${pod#pod/}:/tmp/copy" copy
cat copy`,
		want: "there and back\n", connects: true,
	},
	{name: "port-forward", script: strings.Replace(forward, "PORT", "8080", 1) + "curl --silent --show-error --fail http://127.0.0.1:$port/", want: "hello\n", connects: true},
	{name: "wait", script: "kubectl wait deployment/web --for=condition=Available --timeout=5m", want: "condition met\n"},
	{
		name:   "rollout status",
		script: "kubectl rollout restart deployment/web; kubectl rollout status deployment/web --timeout=5m",
		want:   "successfully rolled out\n",
	},
}

func TestStreams_WorkForAJob(t *testing.T) {
	j := webJob(t)
	for _, s := range streams {
		t.Run(s.name, func(t *testing.T) {
			if result := script(t, j.Workspace, s.script); !result.OK() || !strings.Contains(result.Stdout, s.want) {
				t.Errorf("%s", result)
			}
		})
	}
}

func TestStreams_ARestrictionDenies(t *testing.T) {
	j := webJob(t)
	reconfigure(t, `
restrictions:
- name: releases only
  namespaces: [web]
  resources: [pods/log, pods/exec, pods/attach, pods/portforward, deployments]
  require: {refs: ["release/*"]}
`)
	for _, s := range streams {
		t.Run(s.name, func(t *testing.T) {
			text := s.script
			if s.name != "wait" && s.name != "rollout status" {
				// kubectl would have to find the Deployment's pod first.
				text = strings.ReplaceAll(text, "deployment/web", podOf(t, "web"))
			}
			wantRefusal(t, script(t, j.Workspace, text), s.want, `"releases only"`)
		})
	}
}

// The policy concerns writing and connecting. Reads do not pass admission.
func TestStreams_AnAdmissionPolicyDenies(t *testing.T) {
	j := webJob(t)
	policy := site.programs.Repository + "/manifests/admission/environment-tier.yaml"
	a := admin(t)
	succeed(t, a, "apply", "-f", policy)
	t.Cleanup(func() { try(t, a, "delete", "-f", policy) })
	succeed(t, a, "label", "namespace", "web", "jobgate.io/environment-tier=staging")
	t.Cleanup(func() { try(t, a, "label", "namespace", "web", "jobgate.io/environment-tier-") })
	const refused = "may not do this in namespace web: its environment's tier must be"
	eventually.Succeeds(t, func() error {
		result := script(t, j.Workspace, "kubectl annotate deployment/web --overwrite at=$(date +%N)")
		if result.OK() || !strings.Contains(result.Stderr, refused) {
			return fmt.Errorf("the policy does not work yet: %s", result)
		}
		return nil
	})
	for _, s := range streams {
		if !s.connects {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			wantRefusal(t, script(t, j.Workspace, s.script), s.want, refused)
		})
	}
	t.Run("logs are left to RBAC", func(t *testing.T) {
		if result := script(t, j.Workspace, "kubectl logs deployment/web"); !result.OK() {
			t.Errorf("%s", result)
		}
	})
}

// wantRefusal is the end of a script whose connection was refused. A pipe hides the exit code.
func wantRefusal(t *testing.T, result kubectl.Result, printed, reason string) {
	t.Helper()
	if !strings.Contains(result.Stderr, reason) || strings.Contains(result.Stdout, printed) {
		t.Errorf("it is not refused because of %s: %s", reason, result)
	}
}

// streamVariable is how long the longest streams last: `make node STREAM=11m` is longer than the ten minutes after which GitLab's
// tunnel cuts them.
const streamVariable = "NODE_STREAM"

func TestStreams_LastLong(t *testing.T) {
	length, err := time.ParseDuration(os.Getenv(streamVariable))
	if err != nil {
		t.Fatal(err)
	}
	j := webJob(t)
	j.Limit = length + bootPatience
	seconds := int(length.Seconds())
	succeed(t, j.Workspace, "create", "configmap", "late")
	t.Cleanup(func() { try(t, j.Workspace, "delete", "configmap", "late") })
	var running errgroup.Group
	for name, text := range map[string]string{
		"an exec that is silent": fmt.Sprintf("test $(kubectl exec deployment/web -- sh -c 'sleep %d; echo end') = end", seconds),
		"logs -f": fmt.Sprintf("begin=$(date +%%s); kubectl logs -f --tail=1 deployment/web | head -n %d >lines; "+
			"test $(($(date +%%s) - begin)) -ge %d; test $(wc -l <lines) = %d; awk 'NR > 1 && $2 != last + 1 { exit 1 } { last = $2 }' lines", seconds, seconds*9/10, seconds),
		"an attach": fmt.Sprintf("kubectl attach --quiet deployment/web | head -n %d | wc -l | grep -x %d", seconds, seconds),
		"a port-forward that is silent": strings.Replace(forward, "PORT", "8081", 1) + fmt.Sprintf(
			`bash -c "exec 3<>/dev/tcp/127.0.0.1/$port; sleep %d; echo end >&3; head -n 1 <&3" | grep -x end`, seconds),
		"a wait": fmt.Sprintf("(sleep %d; kubectl patch configmap late --patch='{\"data\":{\"done\":\"yes\"}}') & "+
			"kubectl wait configmap/late --for=jsonpath='{.data.done}'=yes --timeout=%ds", seconds, seconds+300),
	} {
		running.Go(func() error {
			begin := time.Now()
			result, err := j.Script(t.Context(), text)
			lasted := time.Since(begin)
			if err == nil && (!result.OK() || lasted < length*9/10) {
				err = fmt.Errorf("it ended after %s: %s", lasted.Round(time.Second), result)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			t.Logf("%s lasted %s", name, lasted.Round(time.Second))
			return nil
		})
	}
	if err := running.Wait(); err != nil {
		t.Error(err)
	}
}
