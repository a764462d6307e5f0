package main

import "context"

// keep tells how to go on by hand, and waits for Ctrl-C.
func (s *stage) keep(ctx context.Context) error {
	job, err := s.job(visitorsJob, "your job")
	if err != nil {
		return err
	}
	if err := s.loginUnseen(ctx, job); err != nil {
		return err
	}
	s.say("")
	s.say("Everything keeps running. Another job of environment prod is yours; in another terminal:")
	s.say("")
	s.say("  export KUBECONFIG='%s' KUBECACHEDIR='%s'", job.Kubeconfig, job.Cache)
	s.say("  alias kubectl='%s'", s.kubectl)
	s.say("  kubectl auth whoami")
	s.say("  kubectl get deployments -n shop")
	s.say("  kubectl scale deployment web -n shop --replicas=3")
	s.say("  kubectl get secrets -n kube-system           # refused")
	s.say("")
	s.say("End the job, and try again a few seconds later:")
	s.say("  curl -X POST '%s/jobs/%d/status?to=success'", s.site.ControlURL, visitorsJob)
	s.say("The administrator: export KUBECONFIG=%s", s.admin.Kubeconfig)
	s.say("Metrics: %s/metrics   Log: %s", s.site.Jobgate.HealthURL, s.site.Jobgate.LogFile)
	s.say("")
	s.say("Ctrl-C stops everything and removes its files.")
	<-ctx.Done()
	s.say("")
	return nil
}
