//go:build node

package node_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jobgate/jobgate/internal/gitlabtest"

	"github.com/jobgate/jobgate/e2e/node"
)

// A node joins a control plane that asks jobgate. Its kube-apiserver gets the flags from the cluster, so the folder must be there
// before: docs/install.md says so. Then jobs use either API server.
func TestJoin_ASecondControlPlaneNode(t *testing.T) {
	installed(t)
	ctx := lasting(t)
	m, err := node.NewMachine(ctx, 2, site.programs)
	must(t, err)
	must(t, equip(m))
	ca := typed(t, "cat /root/gitlab-ca.crt")
	must(t, m.Seed("/root/gitlab-ca.crt", []byte(ca), 0o644))
	must(t, m.Boot(ctx))
	t.Cleanup(func() { must(t, m.PowerOff(ctx)) })
	for _, give := range []func() error{
		func() error { return m.ImportControlPlane(ctx) }, func() error { return importJobgate(ctx, m) }, func() error { return importTools(ctx, m) },
	} {
		must(t, give())
	}
	initialize, steps := pageSteps(t)
	on := func(script string) string {
		out, err := m.Run(ctx, script)
		if err != nil {
			t.Fatalf("%s: %s\n%v", m.Name, script, err)
		}
		return out
	}
	on(initialize + local)
	must(t, m.Join(ctx, site.machine))
	t.Cleanup(func() {
		// Without its member, etcd on the first node would have no majority.
		on("kubeadm reset --force --cri-socket=unix:///run/containerd/containerd.sock")
		try(t, admin(t), "delete", "node", m.Name)
	})
	t.Log("\n" + on(steps[0].Commands()))
	t.Log("\n" + on(steps[4].Commands()))

	j := runJob(t, gitlabtest.Job{Environment: "prod"})
	for _, machine := range []*node.Machine{m, site.machine} {
		server := "https://" + machine.Address + ":6443"
		who := succeed(t, j.Workspace, "auth", "whoami", "--server="+server)
		if !strings.Contains(who, fmt.Sprintf("gitlab:ci_job:%d", j.ID)) {
			t.Errorf("%s says %s", machine.Name, who)
		}
	}

	// One jobgate down takes jobs from one API server, and from no one else.
	on("mv /etc/kubernetes/manifests/jobgate.yaml /root/")
	must(t, m.Eventually(ctx, "! curl --silent http://127.0.0.1:9444/livez"))
	other := runJob(t, gitlabtest.Job{Environment: "prod"})
	if result := try(t, other.Workspace, "get", "pods", "--namespace=web", "--server=https://"+m.Address+":6443"); result.OK() || !strings.Contains(result.Stderr, "You must be logged in") {
		t.Errorf("without its jobgate, the second API server is not closed to a new job: %s", result)
	}
	succeed(t, other.Workspace, "get", "pods", "--namespace=web")
	succeed(t, admin(t), "get", "pods", "--namespace=web", "--server=https://"+m.Address+":6443")
	on("mv /root/jobgate.yaml /etc/kubernetes/manifests/")
	must(t, until(t, func() error {
		return answer(t, other.Kubeconfig, "get", "pods", "--namespace=web", "--server=https://"+m.Address+":6443")
	}))
}
