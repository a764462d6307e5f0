package main

import (
	"context"
	"fmt"

	"github.com/jobgate/jobgate/internal/gitlabtest"
)

// scene is a part of the story that shows one thing. It fails where something does not go as it should.
type scene struct {
	title string
	play  func(context.Context, *stage) error
}

var story = []scene{
	{"The cluster's administrator lets an environment in", grantEnvironment},
	{"A job of that environment logs in", logIn},
	{"It deploys", deploy},
	{"It deploys nowhere else", stayInside},
	{"Another project's job is known, but has no rights", refuseNeighbour},
	{"The job ends, and its token with it", endJob},
}

func grantEnvironment(ctx context.Context, s *stage) error {
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
	return s.await(ctx, s.admin, allowed, probe)
}

func logIn(ctx context.Context, s *stage) error {
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

func deploy(ctx context.Context, s *stage) error {
	job, err := s.job(prodJob, "prod job")
	if err != nil {
		return err
	}
	if err := s.run(ctx, job, allowed, "create deployment web --image=nginx --namespace=shop"); err != nil {
		return err
	}
	return s.run(ctx, job, allowed, "get deployments --namespace=shop")
}

func stayInside(ctx context.Context, s *stage) error {
	job, err := s.job(prodJob, "prod job")
	if err != nil {
		return err
	}
	return s.run(ctx, job, forbidden, "create deployment web --image=nginx --namespace=default")
}

func refuseNeighbour(ctx context.Context, s *stage) error {
	s.say("Project 151 may use the same agent, and has an environment prod, too. Its job logs in the same way.")
	job, err := s.job(neighbourJob, "other job")
	if err != nil {
		return err
	}
	if err := s.loginUnseen(ctx, job); err != nil {
		return err
	}
	if err := s.run(ctx, job, allowed, "auth whoami --output=jsonpath={.status.userInfo.username}"); err != nil {
		return err
	}
	return s.run(ctx, job, forbidden, "create deployment web --image=nginx --namespace=shop")
}

func endJob(ctx context.Context, s *stage) error {
	job, err := s.job(prodJob, "prod job")
	if err != nil {
		return err
	}
	s.say("GitLab now counts the prod job as finished.")
	if err := finish(s.site.GitLab, prodJob); err != nil {
		return err
	}
	s.say("jobgate and the API server remember a login for 10 seconds each, so this takes a moment.")
	if err := s.await(ctx, job, unauthorized, "auth whoami"); err != nil {
		return err
	}
	return s.run(ctx, job, unauthorized, "get deployments --namespace=shop")
}

func finish(gitlab *gitlabtest.Remote, id int64) error {
	err := gitlab.Update(func(w *gitlabtest.World) {
		w.Job(id).Status = "success"
	})
	if err != nil {
		return fmt.Errorf("end job %d: %w", id, err)
	}
	return nil
}
