//go:build node

package node_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jobgate/jobgate/internal/gitlabtest"

	"github.com/jobgate/jobgate/e2e/kubectl"
	"github.com/jobgate/jobgate/e2e/node"
)

// A node joins a control plane that asks jobgate. Its kube-apiserver gets the flags from the cluster, so the folder must be there
// before: docs/install.md says so. Then jobs use either API server.
func TestJoin_ASecondControlPlaneNode(t *testing.T) {
	installed(t)
	other := secondNode(t)
	servers := map[string]string{"first": serverURL(), "second": "https://" + other.Address + ":6443"}
	j := runJob(t, gitlabtest.Job{Environment: "prod"})
	get := func(user *kubectl.Workspace, server string) error {
		return answer(t, user.Kubeconfig, "get", "configmaps", "--namespace=web", "--server="+servers[server])
	}
	t.Run("jobs use either API server", func(t *testing.T) {
		for name, server := range servers {
			who := succeed(t, j.Workspace, "auth", "whoami", "--server="+server)
			if !strings.Contains(who, fmt.Sprintf("gitlab:ci_job:%d", j.ID)) {
				t.Errorf("the %s says %s", name, who)
			}
		}
	})
	t.Run("a jobgate that is down closes its own API server to jobs, and to no one else", func(t *testing.T) {
		typedOn(t, other, "mv /etc/kubernetes/manifests/jobgate.yaml /root/")
		must(t, other.Eventually(lasting(t), "! curl --silent http://127.0.0.1:9444/livez"))
		wantUnauthorized(t, get(runJob(t, gitlabtest.Job{Environment: "prod"}).Workspace, "second"))
		must(t, get(j.Workspace, "first"))
		must(t, get(admin(t), "second"))
		typedOn(t, other, "mv /root/jobgate.yaml /etc/kubernetes/manifests/")
		must(t, until(t, func() error { return get(j.Workspace, "second") }))
	})
	t.Run("an API server that is killed leaves the other one", func(t *testing.T) {
		typedOn(t, other, "pkill -x -KILL kube-apiserver")
		must(t, get(j.Workspace, "first"))
		must(t, until(t, func() error { return get(j.Workspace, "second") }))
	})
	t.Run("each API server decides by its node's configuration", func(t *testing.T) {
		reconfigure(t, fmt.Sprintf("blocked: {jobs: [%d]}\n", j.ID))
		must(t, until(t, func() error {
			if get(j.Workspace, "first") == nil {
				return errors.New("the job is not refused")
			}
			return nil
		}))
		must(t, get(j.Workspace, "second"))
	})
}

func wantUnauthorized(t *testing.T, err error) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), "You must be logged in") {
		t.Errorf("a new job is not refused: %v", err)
	}
}

// secondNode joins, until the test ends.
func secondNode(t *testing.T) *node.Machine {
	t.Helper()
	ctx := lasting(t)
	m, err := node.NewMachine(ctx, 2, site.programs)
	must(t, err)
	must(t, equip(m))
	must(t, m.Seed("/root/gitlab-ca.crt", []byte(typed(t, "cat /root/gitlab-ca.crt")), 0o644))
	must(t, m.Boot(ctx))
	t.Cleanup(func() { must(t, m.PowerOff(ctx)) })
	for _, give := range []func(context.Context, *node.Machine) error{importControlPlane, importJobgate, importTools} {
		must(t, give(ctx, m))
	}
	initialize, steps := pageSteps(t)
	typedOn(t, m, initialize+local)
	must(t, m.Join(ctx, site.machine))
	t.Cleanup(func() {
		// Without its member, etcd on the first node would have no majority.
		typedOn(t, m, "kubeadm reset --force --cri-socket=unix:///run/containerd/containerd.sock")
		try(t, admin(t), "delete", "node", m.Name)
	})
	typedOn(t, m, steps[0].Commands())
	t.Log("\n" + typedOn(t, m, steps[4].Commands()))
	return m
}

func importControlPlane(ctx context.Context, m *node.Machine) error { return m.ImportControlPlane(ctx) }
