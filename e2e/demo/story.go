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
	{"A job of another environment is kept out", refuseEnvironment},
	{"A job on a branch that is not protected may look, but not touch", refuseBranch},
	{"The job ends, and its rights with it", endJob},
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
	_, err := s.await(ctx, s.admin, allowed, probe)
	return err
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

func refuseEnvironment(ctx context.Context, s *stage) error {
	s.say("Suppose that RBAC is generous: every job of project 150 may deploy to shop.")
	const grant = "create rolebinding project-deploys --clusterrole=edit --group=gitlab:project:150 --namespace=shop"
	if err := s.show(ctx, s.admin, allowed, grant); err != nil {
		return err
	}
	s.say("But jobgate's configuration says whom the namespace is for, and the API server asks jobgate first:")
	s.say("    restrictions:")
	s.say("    - {name: production, namespaces: [shop], require: {environments: [prod]}}")
	job, err := s.job(stagingJob, "staging job")
	if err != nil {
		return err
	}
	if err := s.loginUnseen(ctx, job); err != nil {
		return err
	}
	if err := s.run(ctx, job, denied, "create deployment web2 --image=nginx --namespace=shop"); err != nil {
		return err
	}
	return s.run(ctx, job, denied, "get deployments --namespace=shop")
}

func refuseBranch(ctx context.Context, s *stage) error {
	s.say("The branch main is protected in GitLab, the branch feature is not. Both have jobs of environment prod.")
	s.say("    - {name: releases, namespaces: [shop], verbs: [create, update, patch, delete], require: {protectedRef: true}}")
	job, err := s.job(featureJob, "feature job")
	if err != nil {
		return err
	}
	if err := s.loginUnseen(ctx, job); err != nil {
		return err
	}
	if err := s.run(ctx, job, allowed, "get deployments --namespace=shop"); err != nil {
		return err
	}
	return s.run(ctx, job, denied, "delete deployment web --namespace=shop")
}

func endJob(ctx context.Context, s *stage) error {
	job, err := s.job(prodJob, "prod job")
	if err != nil {
		return err
	}
	const line = "get deployments --namespace=shop"
	if err := s.run(ctx, job, allowed, line); err != nil {
		return err
	}
	s.say("GitLab now counts the prod job as finished. jobgate asks GitLab about a busy job every 8 seconds, so:")
	if err := finish(s.site.GitLab, prodJob); err != nil {
		return err
	}
	// Whether jobgate is the first to refuse depends on when the API server's memory of the login ends.
	for _, want := range []outcome{refused, unauthorized} {
		result, err := s.await(ctx, job, want, line)
		if err != nil {
			return err
		}
		s.print(job, line, result)
		s.outcome(want.String())
		s.steps++
		if want == refused {
			s.say("A moment later the API server has forgotten the login, too:")
		}
	}
	return nil
}

func finish(gitlab *gitlabtest.Remote, id int64) error {
	err := gitlab.Update(func(w *gitlabtest.Instance) {
		w.Job(id).Status = "success"
	})
	if err != nil {
		return fmt.Errorf("end job %d: %w", id, err)
	}
	return nil
}
