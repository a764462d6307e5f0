//go:build node

package node_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jobgate/jobgate/internal/gitlabtest"
)

// The machine loses its power and starts again: kubelet, etcd, kube-apiserver and jobgate, in whatever order they come. Nothing is typed.
func TestReboot_JobsAreBackWithTheAPIServer(t *testing.T) {
	j := webJob(t)
	must(t, site.machine.PowerOff(lasting(t)))
	begin := time.Now()
	must(t, site.machine.Boot(lasting(t)))
	a := admin(t)
	must(t, until(t, func() error { return answer(t, a.Kubeconfig, "get", "--raw=/readyz") }))
	t.Logf("the API server is ready %s after the start", time.Since(begin).Round(time.Second))
	must(t, until(t, func() error { return answer(t, j.Kubeconfig, "get", "pods") }))
	t.Logf("a job is let in %s after the start", time.Since(begin).Round(time.Second))
	deployWeb(t, runJob(t, gitlabtest.Job{Environment: "prod"}))
}

// A container that needs more memory than its limit is ended by the kernel. The kubelet starts it again, and it needs no help to go on.
func TestMemory_AJobgateAtItsLimitComesBack(t *testing.T) {
	j := webJob(t)
	before := typed(t, "cat "+first.manifest)
	t.Cleanup(func() { replaceManifest(t, before) })
	// Half of what large reviews may take together is above this limit.
	replaceManifest(t, strings.NewReplacer("memory: 256Mi", "memory: 40Mi", "memory: 64Mi", "memory: 40Mi", "208MiB", "1GiB").Replace(before))
	must(t, until(t, func() error { return answer(t, j.Kubeconfig, "get", "pods") }))
	tr := startTraffic(t)
	typed(t, `cd /etc/kubernetes/jobgate/pki
head -c 2000000 /dev/zero | tr '\0' a >/tmp/large
printf '{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","spec":{"token":"%s"}}' "$(cat /tmp/large)" >/tmp/review
for i in $(seq 64); do
  curl --silent --output /dev/null --cacert ca.crt --cert client.pem --header 'Content-Type: application/json' --data-binary @/tmp/review https://127.0.0.1:9443/authenticate &
done
wait`)
	awaitCalm(t, tr)
	tr.end()
	t.Log(tr)
	const ended = "--output=jsonpath={.status.containerStatuses[0].lastState.terminated.reason}"
	must(t, until(t, func() error {
		reason := succeed(t, admin(t), "get", "pod", "jobgate-"+site.machine.Name, "--namespace=kube-system", ended)
		if reason != "OOMKilled" {
			return fmt.Errorf("the container's last end is %q", reason)
		}
		return nil
	}))
	if len(tr.adminsNo) > 0 {
		t.Errorf("the administrator was refused: %v", tr.adminsNo)
	}
}

// jobgate writes nothing but renewed certificates, so a full disk ends nothing else. etcd has a disk to itself here, as it should.
func TestFullDisk_JobsAreServedAndARenewalIsTriedAgain(t *testing.T) {
	j := webJob(t)
	t.Cleanup(func() { typed(t, "rm -rf /root/ballast") })
	// The last blocks are taken one by one.
	const fill = `mkdir /root/ballast
! cat /dev/zero >/root/ballast/0
i=0; while i=$((i+1)); echo x >/root/ballast/$i; do :; done
`
	if out, err := site.machine.Run(lasting(t), fill+"jobgate certs renew --force"+pki); err == nil {
		t.Fatalf("the disk is not full: %s%s", out, typed(t, "df /"))
	} else if !strings.Contains(err.Error(), "no space left on device") {
		t.Errorf("the renewal says: %v", err)
	}
	must(t, answer(t, j.Kubeconfig, "get", "pods"))
	must(t, answer(t, runJob(t, gitlabtest.Job{Environment: "prod"}).Kubeconfig, "get", "pods", "--namespace=web"))
	typed(t, "rm -r /root/ballast")
	typed(t, "jobgate certs renew --force"+pki)
	typed(t, check)
	must(t, answer(t, j.Kubeconfig, "get", "pods"))
}

// replaceManifest changes the static pod, and waits until jobgate is ready in another process.
func replaceManifest(t *testing.T, text string) {
	t.Helper()
	before := pidOf(t)
	typed(t, fmt.Sprintf("cat >/root/jobgate.yaml <<'END'\n%sEND\ninstall -m 0644 /root/jobgate.yaml %s", text, first.manifest))
	must(t, site.machine.Eventually(lasting(t), fmt.Sprintf(`pid=$(pgrep -x -o jobgate); test "$pid" != "%s"
curl --silent --fail http://%s/readyz`, before, first.health)))
}

func pidOf(t *testing.T) string {
	t.Helper()
	return strings.TrimSpace(typed(t, "pgrep -x -o jobgate"))
}
