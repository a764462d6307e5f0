package controlplane

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/jobgate/jobgate/e2e/process"
)

// StartControllerManager starts kube-controller-manager with the one controller that fills the built-in ClusterRoles
// (view, edit, admin) with the rules they aggregate, and waits until view has some.
func (p *Plane) StartControllerManager(ctx context.Context, server *APIServer) error {
	const user = "system:kube-controller-manager"
	// The aggregator writes rules that it does not hold itself, which takes the administrators' group.
	certificate, err := p.IssueClient(user, "system:masters")
	if err != nil {
		return err
	}
	config := filepath.Join(p.dir, "controller-manager.kubeconfig")
	if err := WriteKubeconfig(config, server.URL, p.caFile, certificate); err != nil {
		return err
	}
	child, err := process.Start(process.Spec{
		Name: "kube-controller-manager", Path: p.binaries.ControllerManager,
		LogFile: p.file("kube-controller-manager", "log"),
		Args: []string{
			"--kubeconfig=" + config, "--controllers=clusterrole-aggregation-controller", "--leader-elect=false",
			"--bind-address=127.0.0.1", "--secure-port=0",
		},
	})
	if err != nil {
		return err
	}
	p.stopLater(child)
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	return child.WaitReady(ctx, func(ctx context.Context) error { return p.roleHasRules(ctx, server, "view") })
}

func (p *Plane) roleHasRules(ctx context.Context, server *APIServer, name string) error {
	body, err := getOK(ctx, p.httpClient, server.URL+"/apis/rbac.authorization.k8s.io/v1/clusterroles/"+name)
	if err != nil {
		return err
	}
	var role rbacv1.ClusterRole
	if err := json.Unmarshal(body, &role); err != nil {
		return fmt.Errorf("decode ClusterRole %s: %w", name, err)
	}
	if len(role.Rules) == 0 {
		return fmt.Errorf("ClusterRole %s has no rules yet", name)
	}
	return nil
}
