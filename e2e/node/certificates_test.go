//go:build node

package node_test

import (
	"strings"
	"testing"
	"time"
)

const (
	pki   = " --pki=/etc/kubernetes/jobgate/pki"
	check = "jobgate check --config=/etc/kubernetes/jobgate/config.yaml" + pki
)

// overlap is longer than the five minutes within which kube-apiserver reads changed files.
const overlap = "6m"

// The CA is rotated in the three steps of docs/operations.md, with all certificates in it, and under load. kube-apiserver and jobgate run
// on: each reads what the other one changes.
func TestCertificates_CARotationUnderLoad(t *testing.T) {
	installed(t)
	pid := pidOf(t)
	tr := startTraffic(t)
	begin := time.Now()
	typed(t, "jobgate certs rotate-ca --overlap="+overlap+pki)
	// jobgate takes the later steps, and the rotation is over when show says that none is under way.
	for rotating(t) {
		if time.Since(begin) > time.Hour {
			t.Fatalf("the rotation does not end:\n%s", typed(t, "jobgate certs show"+pki))
		}
		time.Sleep(10 * time.Second)
	}
	awaitCalm(t, tr)
	tr.end()
	t.Logf("rotated in %s: %s", time.Since(begin).Round(time.Second), tr)
	typed(t, check)
	if now := pidOf(t); now != pid {
		t.Errorf("jobgate was restarted: process %s, then %s", pid, now)
	}
	if len(tr.adminsNo) > 0 {
		t.Errorf("the administrator was refused: %v", tr.adminsNo)
	}
}

// A stolen key is replaced as docs/operations.md says. kube-apiserver restarts; then jobs are let in.
func TestCertificates_AStolenKey(t *testing.T) {
	j := webJob(t)
	typed(t, "jobgate certs rotate-ca --overlap=0s"+pki)
	const server, aside = "/etc/kubernetes/manifests/kube-apiserver.yaml", "/root/kube-apiserver.yaml"
	typed(t, "mv "+server+" "+aside)
	must(t, site.machine.Eventually(lasting(t), "! pgrep -x kube-apiserver"))
	typed(t, "mv "+aside+" "+server)
	begin := time.Now()
	must(t, until(t, func() error { return answer(t, j.Kubeconfig, "get", "pods") }))
	t.Logf("a job is let in %s after kube-apiserver's manifest is back", time.Since(begin).Round(time.Second))
	typed(t, check)
}

// rotating says whether a rotation is under way.
func rotating(t *testing.T) bool {
	t.Helper()
	return !strings.Contains(typed(t, "jobgate certs show --output=json"+pki), `"stage": "idle"`)
}
