// Package controlplane runs a real Kubernetes control plane on loopback, without nodes: etcd, one or more
// kube-apiservers on it and, where wanted, the one controller that built-in ClusterRoles need. It knows what a token webhook is to
// kube-apiserver, but nothing of jobgate or GitLab.
package controlplane

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/jobgate/jobgate/e2e/binaries"
	"github.com/jobgate/jobgate/e2e/process"
	"github.com/jobgate/jobgate/internal/pkitest"
)

// startTimeout bounds the start of one component. It is generous, since a busy CI machine is slow: a component that
// fails ends at once and is reported at once.
const startTimeout = 2 * time.Minute

// adminUser is the name in the administrator's client certificate.
const adminUser = "e2e-admin"

// Plane is a running control plane.
type Plane struct {
	dir      string
	binaries binaries.Set

	authority  *pkitest.Authority
	caFile     string
	serving    pkitest.Files
	admin      pkitest.Files
	signingKey string
	verifyKey  string

	etcd       *process.Process
	etcdURL    string
	httpClient *http.Client

	mu      sync.Mutex
	running []stopper // in the order of their start
}

type stopper interface{ Stop() error }

// Start starts etcd; the API servers on it are started by StartAPIServer. All files go to dir.
func Start(ctx context.Context, dir string, set binaries.Set) (*Plane, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the control plane's folder: %w", err)
	}
	p := &Plane{dir: dir, binaries: set}
	if err := p.issueCertificates(); err != nil {
		return nil, err
	}
	if err := p.startEtcd(ctx); err != nil {
		return nil, errors.Join(err, p.Stop())
	}
	return p, nil
}

// EtcdPID is etcd's process id.
func (p *Plane) EtcdPID() int { return p.etcd.PID() }

// Stop stops everything, last started first.
func (p *Plane) Stop() error {
	var errs []error
	for i := len(p.running) - 1; i >= 0; i-- {
		errs = append(errs, p.running[i].Stop())
	}
	p.running = nil
	if p.httpClient != nil {
		p.httpClient.CloseIdleConnections()
	}
	return errors.Join(errs...)
}

func (p *Plane) stopLater(s stopper) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running = append(p.running, s)
}

// CAFile is the certificate of the authority that clients of the API servers trust.
func (p *Plane) CAFile() string { return p.caFile }

// Roots trusts that authority alone.
func (p *Plane) Roots() *x509.CertPool { return p.authority.Pool() }

// IssueClient makes a client certificate that the API servers accept for the user and groups.
func (p *Plane) IssueClient(user string, groups ...string) (pkitest.Files, error) {
	return p.authority.IssueClient(p.dir, user, groups...)
}

func (p *Plane) issueCertificates() error {
	var err error
	if p.authority, err = pkitest.NewAuthority("e2e-cluster"); err != nil {
		return err
	}
	if p.caFile, err = p.authority.WriteCertificate(p.dir, "cluster-ca"); err != nil {
		return err
	}
	if p.serving, err = p.authority.IssueServer(p.dir, "kube-apiserver"); err != nil {
		return err
	}
	if p.admin, err = p.authority.IssueClient(p.dir, adminUser, "system:masters"); err != nil {
		return err
	}
	if p.signingKey, p.verifyKey, err = pkitest.WriteSigningKey(p.dir, "service-accounts"); err != nil {
		return err
	}
	p.httpClient, err = mutualTLSClient(p.authority.Pool(), p.admin)
	return err
}

func (p *Plane) startEtcd(ctx context.Context) error {
	clients, err := loopbackURL("http")
	if err != nil {
		return err
	}
	peers, err := loopbackURL("http")
	if err != nil {
		return err
	}
	p.etcdURL = clients
	p.etcd, err = process.Start(process.Spec{
		Name: "etcd", Path: p.binaries.Etcd, LogFile: filepath.Join(p.dir, "etcd.log"),
		Args: []string{
			"--name=e2e", "--data-dir=" + filepath.Join(p.dir, "etcd"),
			"--listen-client-urls=" + clients, "--advertise-client-urls=" + clients,
			"--listen-peer-urls=" + peers, "--initial-advertise-peer-urls=" + peers, "--initial-cluster=e2e=" + peers,
			"--unsafe-no-fsync", "--log-level=warn",
		},
	})
	if err != nil {
		return err
	}
	p.stopLater(p.etcd)
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	return p.etcd.WaitReady(ctx, func(ctx context.Context) error {
		_, err := getOK(ctx, http.DefaultClient, clients+"/readyz")
		return err
	})
}

func loopbackURL(scheme string) (string, error) {
	address, err := process.FreeAddress()
	return scheme + "://" + address, err
}
