//go:build node

package node_test

import (
	"fmt"
	"testing"
	"time"
)

// instance is one of the jobgates on the machine.
type instance struct{ manifest, health string }

var (
	first  = instance{manifest: "/etc/kubernetes/manifests/jobgate.yaml", health: "127.0.0.1:9444"}
	second = instance{manifest: "/etc/kubernetes/manifests/jobgate-2.yaml", health: "127.0.0.1:9445"}
)

// calm is how long nothing is refused before a restart counts as over: longer than the API server remembers a refusal or a login.
const calm = 15 * time.Second

// One instance is away while the kubelet replaces it, and the kubelet takes its time: it finds the old pod in the way of the new one, and
// tries again 10 to 15 s later. This measures it; what is asserted is that jobs are let in again without help, and that no one else
// notices.
func TestRestart_OneInstanceUnderLoad(t *testing.T) {
	installed(t)
	for _, step := range []struct{ name, image string }{
		{name: "upgrade", image: nextVersion},
		{name: "rollback", image: version},
	} {
		t.Run(step.name, func(t *testing.T) {
			measure(t, func() {
				first.update(t, step.image)
			})
		})
	}
}

// The kubelet starts a container that has ended again in the same pod: at once the first time, and 10 s later the second time.
func TestRestart_AProcessThatEndsUnderLoad(t *testing.T) {
	installed(t)
	for _, end := range []string{"first", "second"} {
		t.Run(end, func(t *testing.T) {
			measure(t, func() { typed(t, "pkill -x -KILL jobgate") })
		})
	}
}

// measure restarts something under load, and says how that was felt.
func measure(t *testing.T, restart func()) {
	t.Helper()
	tr := startTraffic(t)
	restart()
	awaitCalm(t, tr)
	tr.end()
	t.Log(tr)
	if len(tr.adminsNo) > 0 {
		t.Errorf("the administrator was refused: %v", tr.adminsNo)
	}
}

// update gives the instance another version of the image, as an upgrade does, and waits until that is ready. The kubelet starts every
// file in its folder, so the new manifest is written elsewhere.
func (i instance) update(t *testing.T, version string) {
	t.Helper()
	typed(t, fmt.Sprintf(`sed 's|image: ghcr.io/jobgate/jobgate:.*|image: ghcr.io/jobgate/jobgate:%s|' %s >/root/jobgate.yaml
install -m 0644 /root/jobgate.yaml %[2]s`, version, i.manifest))
	must(t, site.machine.Eventually(lasting(t), fmt.Sprintf(`curl --silent --fail http://%[1]s/readyz
curl --silent --fail http://%[1]s/metrics | grep -F 'jobgate_build_info{version="%[2]s"}'`, i.health, version)))
}

func awaitCalm(t *testing.T, tr *traffic) {
	t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); tr.sinceRefusal() < calm; time.Sleep(time.Second) {
		if time.Now().After(deadline) {
			t.Fatalf("jobs are still refused: %s", tr)
		}
	}
}
