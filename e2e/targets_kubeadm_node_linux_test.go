package e2e_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"github.com/jobgate/jobgate/internal/pkitest"
)

// kubeadmNodeName is a control-plane node's, on which nothing runs.
const kubeadmNodeName = "control-plane-1"

// kubeadmInit is what the node was made with. Its address is not that of a default route.
const kubeadmInit = "---\napiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\n" +
	"localAPIEndpoint: {advertiseAddress: 192.0.2.7, bindPort: 7443}\nnodeRegistration: {name: " + kubeadmNodeName + "}\n"

// kubeadmMachine is a node of a cluster whose objects are in the site's API server. kubeadm's files are there, and
// mirrorPods does for kubeadm what the kubelet would.
func kubeadmMachine(t *testing.T) *machine {
	t.Helper()
	m := newMachine(t)
	set := site.Binaries()
	if err := os.Symlink(set.Kubeadm, filepath.Join(m.files.bin, "kubeadm")); err != nil {
		t.Fatal(err)
	}
	for name, write := range map[string]func(file string) error{
		"admin.conf": site.API.WriteAdminKubeconfig,
		"kubelet.conf": func(file string) error {
			return site.API.WriteClientKubeconfig(file, "system:node:"+kubeadmNodeName, "system:nodes")
		},
	} {
		if err := write(filepath.Join(m.files.kubernetes, name)); err != nil {
			t.Fatal(err)
		}
	}
	writeEtcdCertificates(t, filepath.Join(m.files.kubernetes, "pki"))
	m.write(t, "/root/kubeadm.yaml", kubeadmExported+kubeadmInit)
	client := kubeadmClient(t)
	createNode(t, client)
	m.must(t, "kubeadm init phase control-plane all --config=/root/kubeadm.yaml")
	// Another path than the default, which would have kubeadm ask the node's own address.
	m.must(t, "cp /etc/kubernetes/admin.conf /root/admin.conf\n"+
		"kubeadm init phase upload-config all --config=/root/kubeadm.yaml --kubeconfig=/root/admin.conf")
	putBack(t, admin(t), "delete", "--namespace=kube-system", "configmap/kubeadm-config", "configmap/kubelet-config",
		"role/kubeadm:nodes-kubeadm-config", "rolebinding/kubeadm:nodes-kubeadm-config",
		"role/kubeadm:kubelet-config", "rolebinding/kubeadm:kubelet-config")
	mirrorPods(t, client, filepath.Join(m.files.kubernetes, "manifests"))
	return m
}

// writeEtcdCertificates writes what kubeadmExported names for an etcd, which kubeadm reads and has no use for here.
func writeEtcdCertificates(t *testing.T, dir string) {
	t.Helper()
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	authority, err := pkitest.NewAuthority("etcd")
	if err != nil {
		t.Fatal(err)
	}
	_, caErr := authority.WriteCertificate(dir, "etcd-ca")
	_, err = authority.IssueClient(dir, "etcd-client")
	if err := errors.Join(caErr, err); err != nil {
		t.Fatal(err)
	}
}

func (m *machine) must(t *testing.T, script string) string {
	t.Helper()
	out, err := m.run(t, script)
	if err != nil {
		t.Fatalf("%s\n%v", script, err)
	}
	return out
}

func kubeadmClient(t *testing.T) kubernetes.Interface {
	t.Helper()
	c, err := clientcmd.BuildConfigFromFlags("", admin(t).Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(c)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func createNode(t *testing.T, client kubernetes.Interface) {
	t.Helper()
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{
		Name: kubeadmNodeName, Annotations: map[string]string{"kubeadm.alpha.kubernetes.io/cri-socket": "unix:///run/containerd/containerd.sock"},
	}}
	if _, err := client.CoreV1().Nodes().Create(t.Context(), node, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	putBack(t, admin(t), "delete", "node", kubeadmNodeName)
}

// mirrorPods shows static pods as the kubelet does once it has restarted them, until the test ends. They run nowhere.
func mirrorPods(t *testing.T, client kubernetes.Interface, manifests string) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	var finished sync.WaitGroup
	shown := map[string]string{}
	finished.Go(func() {
		wait.UntilWithContext(ctx, func(ctx context.Context) {
			if err := mirror(ctx, client, manifests, shown); err != nil && ctx.Err() == nil {
				t.Errorf("show static pods: %v", err)
			}
		}, 50*time.Millisecond)
	})
	t.Cleanup(func() {
		stop()
		finished.Wait()
		for name := range shown {
			if err := deletePod(context.Background(), client, name); err != nil {
				t.Error(err)
			}
		}
	})
}

// mirror shows the pods of manifests that are not as they are in shown, which has hashes by the pods' names.
func mirror(ctx context.Context, client kubernetes.Interface, manifests string, shown map[string]string) error {
	files, err := filepath.Glob(filepath.Join(manifests, "kube-*.yaml"))
	if err != nil {
		return err
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue // kubeadm moves the old one away before the new one comes
		}
		if err != nil {
			return err
		}
		var pod corev1.Pod
		if err := yaml.UnmarshalStrict(text, &pod); err != nil {
			return err
		}
		sum := sha256.Sum256(text)
		hash := hex.EncodeToString(sum[:16])
		pod.Name += "-" + kubeadmNodeName
		if shown[pod.Name] == hash {
			continue
		}
		if err := showPod(ctx, client, &pod, hash); err != nil {
			return err
		}
		shown[pod.Name] = hash
	}
	return nil
}

func showPod(ctx context.Context, client kubernetes.Interface, pod *corev1.Pod, hash string) error {
	if err := deletePod(ctx, client, pod.Name); err != nil {
		return err
	}
	metav1.SetMetaDataAnnotation(&pod.ObjectMeta, corev1.MirrorPodAnnotationKey, hash)
	metav1.SetMetaDataAnnotation(&pod.ObjectMeta, "kubernetes.io/config.hash", hash)
	metav1.SetMetaDataAnnotation(&pod.ObjectMeta, "kubernetes.io/config.source", "file")
	pod.Spec.NodeName = kubeadmNodeName
	pods := client.CoreV1().Pods(metav1.NamespaceSystem)
	created, err := pods.Create(ctx, pod, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	created.Status = corev1.PodStatus{
		Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
	}
	_, err = pods.UpdateStatus(ctx, created, metav1.UpdateOptions{})
	return err
}

func deletePod(ctx context.Context, client kubernetes.Interface, name string) error {
	err := client.CoreV1().Pods(metav1.NamespaceSystem).Delete(ctx, name, metav1.DeleteOptions{GracePeriodSeconds: new(int64)})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
