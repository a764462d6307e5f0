package main

import (
	"context"
	"fmt"
	"strings"
)

// admitByGrant shows jobs of a project that no agent lists.
func admitByGrant(ctx context.Context, s *session) error {
	s.say("No agent lists project 152. The cluster itself admits its jobs on main, in jobgate's configuration:")
	s.say("    cluster: {name: %s}", clusterName)
	s.say("    grants:")
	s.say("    - {name: third, projects: [152], require: {refs: [main], refTypes: [branch]}}")
	const bind = "create rolebinding third-deploys --clusterrole=edit --group=gitlab:project_env:152:prod --namespace=shop"
	if err := s.show(ctx, s.admin, allowed, bind); err != nil {
		return err
	}
	job, err := s.jobOfCluster(ctx, grantedJob, "granted job", "")
	if err != nil {
		return err
	}
	if _, err := s.await(ctx, job, allowed, "auth can-i create deployments --namespace=shop"); err != nil {
		return err
	}
	if err := s.run(ctx, job, allowed, "create deployment third --image=nginx --namespace=shop"); err != nil {
		return err
	}
	s.say("A job of the same project on another branch may not:")
	outside, err := s.jobOfCluster(ctx, outsideJob, "feature job 2", "")
	if err != nil {
		return err
	}
	return s.run(ctx, outside, denied, "get deployments --namespace=shop")
}

// useIDToken shows a credential that jobgate verifies by itself. GitLab is asked only whether the job still runs.
func useIDToken(ctx context.Context, s *session) error {
	s.say("The job has id_tokens: {PROD_TOKEN: {aud: %s}}. jobgate verifies the signature with GitLab's keys.", audience)
	job, err := s.jobOfCluster(ctx, idTokenJob, "ID token job", "PROD_TOKEN")
	if err != nil {
		return err
	}
	if err := s.run(ctx, job, allowed, "auth whoami"); err != nil {
		return err
	}
	const line = "get deployments --namespace=shop"
	if err := s.run(ctx, job, allowed, line); err != nil {
		return err
	}
	s.say("The token is valid for an hour. The job ends now, and its access with it:")
	if err := s.end(idTokenJob); err != nil {
		return err
	}
	return s.waitAndShow(ctx, job, ended, line)
}

// jobOfCluster is a job that writes its own kubeconfig: with its job token, or with an ID token in a variable.
func (s *session) jobOfCluster(ctx context.Context, id int64, name, variable string) (user, error) {
	gitlab := s.site.GitLab.Instance()
	var variables []string
	line := "jobgate kubeconfig --cluster=" + clusterName + " --server=$API_SERVER --ca=$API_SERVER_CA"
	if variable != "" {
		token, err := s.site.GitLab.IDToken(id, audience)
		if err != nil {
			return user{}, fmt.Errorf("ask GitLab for the ID token of job %d: %w", id, err)
		}
		variables = append(variables, variable+"="+token)
		line += " --id-token-variable=" + variable
	}
	workspace, err := s.site.Job(*gitlab.Job(id), variables...)
	if err != nil {
		return user{}, err
	}
	job := user{name: name, Workspace: workspace}
	words := s.arguments(line)
	words[0] = s.programs.Jobgate
	result, err := workspace.Script(ctx, strings.Join(words, " "))
	if err != nil {
		return user{}, err
	}
	if !result.OK() {
		return user{}, fmt.Errorf("%s: %s", line, result)
	}
	s.commandLine(name, line)
	s.output(result.Stdout)
	s.commands++
	return job, nil
}
