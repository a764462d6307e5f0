//go:build node

package node_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

const manifest = "/etc/kubernetes/manifests/jobgate.yaml"

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
				change(t, withImage(typed(t, "cat "+manifest), step.image))
				awaitReady(t, step.image)
			})
		})
	}
}

// The process ends, as in a crash, or because an admin ends it. The kubelet starts the container again in the same pod, at once.
func TestRestart_AProcessThatEndsUnderLoad(t *testing.T) {
	for _, signal := range []string{"KILL", "TERM"} {
		t.Run(signal, func(t *testing.T) {
			installed(t)
			measure(t, func() { typed(t, "pkill -x -"+signal+" jobgate") })
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

func withImage(text, version string) string {
	before, after, _ := strings.Cut(text, "image: ghcr.io/jobgate/jobgate:")
	_, rest, _ := strings.Cut(after, "\n")
	return before + "image: ghcr.io/jobgate/jobgate:" + version + "\n" + rest
}

// change replaces the manifest as install does. The kubelet starts every file in its folder, so the new one is written elsewhere.
func change(t *testing.T, text string) {
	t.Helper()
	typed(t, fmt.Sprintf("cat >/root/jobgate.yaml <<'END'\n%sEND\ninstall -m 0644 /root/jobgate.yaml %s", text, manifest))
}

// awaitReady waits for jobgate in a version.
func awaitReady(t *testing.T, version string) {
	t.Helper()
	must(t, site.machine.Eventually(lasting(t), fmt.Sprintf(
		`curl --silent --fail http://127.0.0.1:9444/readyz && curl --silent --fail http://127.0.0.1:9444/metrics | grep -F 'jobgate_build_info{version="%s"}'`,
		version)))
}

func awaitCalm(t *testing.T, tr *traffic) {
	t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); tr.sinceRefusal() < calm; time.Sleep(time.Second) {
		if time.Now().After(deadline) {
			t.Fatalf("jobs are still refused: %s", tr)
		}
	}
}
