package controlplane

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"time"

	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"github.com/jobgate/jobgate/e2e/process"
)

// TokenWebhook points kube-apiserver to an authentication webhook.
type TokenWebhook struct {
	ConfigFile string        // a kubeconfig, see WriteKubeconfig
	Version    string        // v1 or v1beta1
	CacheTTL   time.Duration // how long the answers are remembered; a fixed 10 s for successes come on top
}

// APIServerOptions are what tests vary. Name is required and unique on the plane.
type APIServerOptions struct {
	Name                string
	TokenWebhook        *TokenWebhook // nil: none
	AuthorizationConfig string        // an AuthorizationConfiguration file; empty: by AuthorizationMode
	AuthorizationMode   string        // as in kube-apiserver's flag; empty: RBAC alone
	ExtraArgs           []string      // come last and so win
}

// APIServer is a running kube-apiserver.
type APIServer struct {
	URL       string
	plane     *Plane
	options   APIServerOptions
	process   *process.Process
	auditFile string
}

// StartAPIServer starts a kube-apiserver on the plane's etcd and waits until it is ready. Several may run side by side,
// as the replicas of one cluster.
func (p *Plane) StartAPIServer(ctx context.Context, options APIServerOptions) (*APIServer, error) {
	url, err := loopbackURL("https")
	if err != nil {
		return nil, err
	}
	s := &APIServer{URL: url, plane: p, options: options, auditFile: p.file(options.Name, "audit.log")}
	if err := s.start(ctx); err != nil {
		return nil, err
	}
	p.stopLater(s)
	return s, nil
}

// PID is its process id.
func (s *APIServer) PID() int { return s.process.PID() }

// Stop stops the server; the plane does so, too, when it stops. It kills: all state is in etcd and the audit log is
// written as requests are answered, whereas an orderly end would wait for other components to give up their watches.
func (s *APIServer) Stop() error {
	s.process.Kill()
	return nil
}

func (s *APIServer) start(ctx context.Context) error {
	args, err := s.args()
	if err != nil {
		return err
	}
	s.process, err = process.Start(process.Spec{
		Name: s.options.Name, Path: s.plane.binaries.APIServer, Args: args, LogFile: s.LogFile(),
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	err = s.process.WaitReady(ctx, func(ctx context.Context) error {
		_, err := getOK(ctx, s.plane.httpClient, s.URL+"/readyz")
		return err
	})
	if err != nil {
		s.process.Kill()
	}
	return err
}

func (s *APIServer) args() ([]string, error) {
	p := s.plane
	policy, err := writeAuditPolicy(p.dir)
	if err != nil {
		return nil, err
	}
	port, err := portOf(s.URL)
	if err != nil {
		return nil, err
	}
	args := []string{
		"--etcd-servers=" + p.etcdURL,
		"--bind-address=127.0.0.1", "--secure-port=" + port,
		// Nothing is to be reached through the kubernetes Service, and its Endpoints may not be loopback.
		"--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none",
		"--tls-cert-file=" + p.serving.Cert, "--tls-private-key-file=" + p.serving.Key,
		"--client-ca-file=" + p.caFile,
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + p.verifyKey, "--service-account-signing-key-file=" + p.signingKey,
		"--service-cluster-ip-range=10.0.0.0/24",
		"--audit-policy-file=" + policy, "--audit-log-path=" + s.auditFile,
		"--profiling=false",
	}
	if hook := s.options.TokenWebhook; hook != nil {
		args = append(args,
			"--authentication-token-webhook-config-file="+hook.ConfigFile,
			"--authentication-token-webhook-version="+hook.Version,
			"--authentication-token-webhook-cache-ttl="+hook.CacheTTL.String())
	}
	if s.options.AuthorizationConfig != "" {
		args = append(args, "--authorization-config="+s.options.AuthorizationConfig)
	} else {
		args = append(args, "--authorization-mode="+cmp.Or(s.options.AuthorizationMode, "RBAC"))
	}
	return append(args, s.options.ExtraArgs...), nil
}

// LogFile is where the server logs to.
func (s *APIServer) LogFile() string { return s.plane.file(s.options.Name, "log") }

func (p *Plane) file(component, kind string) string {
	return filepath.Join(p.dir, fmt.Sprintf("%s.%s", component, kind))
}

// AuditEvents are the events written so far that match. kube-apiserver writes an event about when it has answered the
// request, so a caller may have to ask again.
func (s *APIServer) AuditEvents(match func(*auditv1.Event) bool) ([]auditv1.Event, error) {
	return readAudit(s.auditFile, match)
}
