//go:build node

package node_test

import (
	"strings"
	"testing"
)

// rounds are how often each instance is replaced.
const rounds = 10

// Two instances share an address: while the kubelet replaces one, the other one answers. Each round is an upgrade or a rollback of the
// image, one instance after the other.
func TestTwoInstances_NoRequestFailsWhileTheyAreReplaced(t *testing.T) {
	twoInstances(t)
	tr := startTraffic(t)
	for round := range rounds {
		image := [2]string{nextVersion, version}[round%2]
		for _, i := range []instance{first, second} {
			i.update(t, image)
		}
		t.Logf("after %d of %d restarts: %s", 2*(round+1), 2*rounds, tr)
	}
	awaitCalm(t, tr)
	tr.end()
	t.Log(tr)
	if len(tr.refused) > 0 || len(tr.adminsNo) > 0 {
		t.Errorf("refused: %+v, the administrator: %+v", tr.refused, tr.adminsNo)
	}
}

// A crash is no orderly end: what one instance is asked at that moment gets no answer from it.
func TestTwoInstances_OneCrashes(t *testing.T) {
	twoInstances(t)
	measure(t, func() { typed(t, "pkill -x -o -KILL jobgate") })
}

// twoInstances makes two of the one, by the steps that init prints.
func twoInstances(t *testing.T) {
	t.Helper()
	installed(t)
	initialize, _ := pageSteps(t)
	printed := typed(t, initialize+local+" --instances 2")
	_, printed, _ = strings.Cut(printed, "\nNext steps:\n")
	steps := stepsIn(printed)
	// The others concern kube-apiserver, which asks the same address as before.
	for _, s := range []step{steps[0], steps[len(steps)-1]} {
		t.Log("\n" + typed(t, s.Commands()))
	}
	// "From two to one": remove the second, then run init without --instances.
	t.Cleanup(func() {
		typed(t, "rm "+second.manifest)
		must(t, site.machine.Eventually(lasting(t), "! curl --silent http://"+second.health+"/livez"))
		typed(t, initialize+local)
	})
}
