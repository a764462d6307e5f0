package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/jobgate/jobgate/internal/config"
	"github.com/jobgate/jobgate/internal/gitlabtest"
	"github.com/jobgate/jobgate/internal/pkitest"
	"github.com/jobgate/jobgate/internal/policy"

	"github.com/jobgate/jobgate/e2e/process"
)

const (
	// latency is GitLab's for every question.
	latency = 50 * time.Millisecond
	// memoryLimit is GOMEMLIMIT of the manifests that jobgate ships.
	memoryLimit = "208MiB"

	cluster      = "flood"
	audience     = "https://flood.example.com"
	apiServer    = "kube-apiserver" // the name in its client certificate
	startTimeout = 30 * time.Second
)

// installation is a running jobgate with its GitLab.
type installation struct {
	dir       string
	gitlab    *gitlabtest.Server
	process   *process.Process
	address   string // of the reviews
	healthURL string
	authority *pkitest.Authority
	files     pkitest.Files // the API server's client certificate
	api       *caller
	scale     float64
}

// install starts everything. When it fails, nothing keeps running.
func install(ctx context.Context, o options) (_ *installation, err error) {
	in := &installation{scale: o.scale}
	defer func() {
		if err != nil {
			err = errors.Join(err, in.close())
		}
	}()
	if in.dir, err = os.MkdirTemp("", "jobgate-flood-"); err != nil {
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	if in.gitlab, err = gitlabtest.Start(gitlabtest.Options{TLS: true, Instance: instance(o.length)}); err != nil {
		return nil, err
	}
	in.gitlab.Fault(
		gitlabtest.Fault{Endpoint: gitlabtest.AllowedAgents, JobTokens: hanging, Hang: true},
		gitlabtest.Fault{Endpoint: gitlabtest.AnyEndpoint, Delay: latency},
	)
	file, err := in.configure()
	if err != nil {
		return nil, err
	}
	in.process, err = process.Start(process.Spec{
		Name: "jobgate", Path: o.jobgate, LogFile: filepath.Join(in.dir, "jobgate.log"),
		Args: []string{"serve", "--config=" + file}, Env: []string{"GOMEMLIMIT=" + memoryLimit},
	})
	if err != nil {
		return nil, err
	}
	if in.api, err = newCaller(in); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	return in, in.process.WaitReady(ctx, in.ready)
}

func (in *installation) close() error {
	var errs []error
	if in.process != nil {
		errs = append(errs, in.process.Stop())
	}
	if in.gitlab != nil {
		in.gitlab.Close()
	}
	return errors.Join(append(errs, os.RemoveAll(in.dir))...)
}

func (in *installation) ready(ctx context.Context) error {
	_, err := process.Get(ctx, http.DefaultClient, in.healthURL+"/readyz")
	return err
}

// configure writes certificates and the configuration file. Only what has no default is set, and what lets ID tokens in.
func (in *installation) configure() (file string, err error) {
	if in.authority, err = pkitest.NewAuthority("flood"); err != nil {
		return "", err
	}
	authority, err := in.authority.WriteCertificate(in.dir, "ca")
	if err != nil {
		return "", err
	}
	serving, err := in.authority.IssueServer(in.dir, "jobgate")
	if err != nil {
		return "", err
	}
	if in.files, err = in.authority.IssueClient(in.dir, apiServer); err != nil {
		return "", err
	}
	gitlabCA := filepath.Join(in.dir, "gitlab-ca.crt")
	if err := os.WriteFile(gitlabCA, in.gitlab.CACertPEM(), 0o600); err != nil {
		return "", fmt.Errorf("write the CA of GitLab: %w", err)
	}
	addresses := make([]string, 2)
	for i := range addresses {
		if addresses[i], err = process.FreeAddress(); err != nil {
			return "", err
		}
	}
	in.address, in.healthURL = addresses[0], "http://"+addresses[1]
	c := config.Default()
	c.APIVersion, c.Kind, c.Cluster.Name = config.APIVersion, config.Kind, cluster
	c.GitLab.URL, c.GitLab.CAFile = in.gitlab.URL(), gitlabCA
	for _, id := range agents() {
		c.Agents = append(c.Agents, config.Agent{ID: id})
	}
	c.Grants = []policy.Grant{{Name: "id-tokens", Projects: []int64{gitlabtest.ExampleProject}}}
	c.IDTokens = config.IDTokens{Audience: audience}
	c.Serving = config.Serving{
		Address: addresses[0], HealthAddress: addresses[1], CertFile: serving.Cert, KeyFile: serving.Key,
		ClientCAFile: authority, ClientNames: []string{apiServer},
	}
	return in.write(c)
}

func (in *installation) write(c *config.Configuration) (file string, err error) {
	text, err := yaml.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("encode the configuration: %w", err)
	}
	file = filepath.Join(in.dir, "jobgate.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return "", fmt.Errorf("write the configuration: %w", err)
	}
	return file, nil
}
