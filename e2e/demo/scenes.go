package main

import (
	"context"
	"fmt"

	"github.com/jobgate/jobgate/internal/gitlabtest"
)

// scene is a part of the demo that shows one thing. It fails if a command has another outcome than expected.
type scene struct {
	title    string
	play     func(context.Context, *session) error
	pictured bool // in the picture of README.md
}

var scenes = []scene{
	{title: "The cluster's administrator lets an environment in", play: grantEnvironment},
	{title: "A job of that environment logs in", play: logIn},
	{title: "It deploys", play: deploy},
	{title: "It deploys nowhere else", play: stayInside},
	{title: "Another project's job is known, but has no rights", play: refuseNeighbour},
	{title: "A job of another environment is kept out", play: refuseEnvironment},
	{title: "A job on a branch that is not protected may look, but not touch", play: refuseBranch},
	{title: "A grant admits jobs without any agent", play: admitByGrant, pictured: true},
	{title: "A job shows an ID token instead, and still loses its rights when it ends", play: useIDToken},
	{title: "The job ends, and its rights with it", play: endJob, pictured: true},
}

func grantEnvironment(ctx context.Context, s *session) error {
	s.say("Project 150 of GitLab may deploy from its environment prod to the namespace shop.")
	s.say("That is a plain RoleBinding to a group. jobgate itself grants nothing.")
	for _, line := range []string{
		"create namespace shop",
		"create rolebinding prod-deploys --clusterrole=edit --group=gitlab:project_env:150:prod --namespace=shop",
	} {
		if err := s.show(ctx, s.admin, allowed, line); err != nil {
			return err
		}
	}
	// The API server learns of a new binding a moment after it is created.
	const probe = "auth can-i create deployments --namespace=shop --as=probe --as-group=gitlab:project_env:150:prod"
	_, err := s.await(ctx, s.admin, allowed, probe)
	return err
}

func logIn(ctx context.Context, s *session) error {
	s.say("GitLab gives every CI job a kubeconfig. One command points it to the cluster instead of GitLab's tunnel.")
	job, err := s.job(prodJob, "prod job")
	if err != nil {
		return err
	}
	if err := s.login(ctx, job); err != nil {
		return err
	}
	s.say("Who is it to the cluster? The API server asks jobgate, and jobgate asks GitLab:")
	return s.run(ctx, job, allowed, "auth whoami")
}

func deploy(ctx context.Context, s *session) error {
	job, err := s.job(prodJob, "prod job")
	if err != nil {
		return err
	}
	if err := s.run(ctx, job, allowed, "create deployment web --image=nginx --namespace=shop"); err != nil {
		return err
	}
	return s.run(ctx, job, allowed, "get deployments --namespace=shop")
}

func stayInside(ctx context.Context, s *session) error {
	job, err := s.job(prodJob, "prod job")
	if err != nil {
		return err
	}
	return s.run(ctx, job, forbidden, "create deployment web --image=nginx --namespace=default")
}

func refuseNeighbour(ctx context.Context, s *session) error {
	s.say("Project 151 may use the same agent, and has an environment prod, too. Its job logs in the same way.")
	job, err := s.loggedIn(ctx, neighbourJob, "other job")
	if err != nil {
		return err
	}
	if err := s.run(ctx, job, allowed, "auth whoami --output=jsonpath={.status.userInfo.username}"); err != nil {
		return err
	}
	return s.run(ctx, job, forbidden, "create deployment web --image=nginx --namespace=shop")
}

func refuseEnvironment(ctx context.Context, s *session) error {
	s.say("Suppose that RBAC is generous: every job of project 150 may deploy to shop.")
	const grant = "create rolebinding project-deploys --clusterrole=edit --group=gitlab:project:150 --namespace=shop"
	if err := s.show(ctx, s.admin, allowed, grant); err != nil {
		return err
	}
	s.say("But jobgate's configuration opens that namespace to environment prod alone, and the API server asks jobgate first:")
	s.say("    restrictions:")
	s.say("    - {name: production, namespaces: [shop], require: {environments: [prod]}}")
	job, err := s.loggedIn(ctx, stagingJob, "staging job")
	if err != nil {
		return err
	}
	if err := s.run(ctx, job, denied, "create deployment web2 --image=nginx --namespace=shop"); err != nil {
		return err
	}
	return s.run(ctx, job, denied, "get deployments --namespace=shop")
}

func refuseBranch(ctx context.Context, s *session) error {
	s.say("The branch main is protected in GitLab, the branch feature is not. Both have jobs of environment prod.")
	s.say("    - {name: releases, namespaces: [shop], verbs: [create, update, patch, delete], require: {protectedRef: true}}")
	job, err := s.loggedIn(ctx, featureJob, "feature job")
	if err != nil {
		return err
	}
	if err := s.run(ctx, job, allowed, "get deployments --namespace=shop"); err != nil {
		return err
	}
	return s.run(ctx, job, denied, "delete deployment web --namespace=shop")
}

// endJob uses a job that has not logged in yet. The API server then remembers this login for longer than jobgate waits
// until it asks GitLab again, so jobgate is the first to refuse.
func endJob(ctx context.Context, s *session) error {
	job, err := s.loggedIn(ctx, endingJob, "last job")
	if err != nil {
		return err
	}
	const line = "get deployments --namespace=shop"
	if err := s.run(ctx, job, allowed, line); err != nil {
		return err
	}
	s.say("The job ends in GitLab. This jobgate asks GitLab about a busy job every %s (8s by default), and then refuses:", recheck)
	if err := s.end(endingJob); err != nil {
		return err
	}
	if err := s.waitAndShow(ctx, job, ended, line); err != nil {
		return err
	}
	s.say("A few seconds later the API server has forgotten the login, too, and asks who this is:")
	return s.waitAndShow(ctx, job, unauthorized, line)
}

func (s *session) waitAndShow(ctx context.Context, who user, want outcome, line string) error {
	result, err := s.await(ctx, who, want, line)
	if err != nil {
		return err
	}
	s.print(who, line, result)
	s.outcome(want.String())
	s.commands++
	return nil
}

// end makes GitLab end jobs.
func (s *session) end(ids ...int64) error {
	err := s.site.GitLab.Update(func(gitlab *gitlabtest.Instance) {
		for _, id := range ids {
			gitlab.Job(id).Status = "success"
		}
	})
	if err != nil {
		return fmt.Errorf("end jobs %d: %w", ids, err)
	}
	return nil
}
