package check

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/jobgate/jobgate/internal/config"
	"github.com/jobgate/jobgate/internal/extras"
	"github.com/jobgate/jobgate/internal/findings"
	"github.com/jobgate/jobgate/internal/reviews"
)

// foreignToken is no job's, so jobgate leaves it alone and asks no one about it.
const foreignToken = "jobgate-check"

// saysJobgate begins every reason of a denial by jobgate.
const saysJobgate = "jobgate: "

// checkConnection asks jobgate as kube-apiserver does: with its kubeconfigs and certificates.
func (e *examination) checkConnection(ctx context.Context) findings.Finding {
	f := findings.Finding{Name: "connection"}
	if e.webhooks == (webhooks{}) {
		return f.NotChecked("it is not known how kube-apiserver finds jobgate")
	}
	for _, one := range []struct {
		name   string
		review any
	}{
		{e.webhooks.authenticate, &authenticationv1.TokenReview{
			TypeMeta: metav1.TypeMeta{APIVersion: "authentication.k8s.io/v1", Kind: "TokenReview"},
			Spec:     authenticationv1.TokenReviewSpec{Token: foreignToken},
		}},
		{e.webhooks.authorize, &authorizationv1.SubjectAccessReview{
			TypeMeta: metav1.TypeMeta{APIVersion: "authorization.k8s.io/v1", Kind: "SubjectAccessReview"},
			Spec: authorizationv1.SubjectAccessReviewSpec{
				User: "jobgate-check", NonResourceAttributes: &authorizationv1.NonResourceAttributes{Path: "/", Verb: "get"},
			},
		}},
	} {
		if one.name == "" {
			continue
		}
		if err := e.askJobgate(ctx, one.name, one.review); err != nil {
			f.Details = append(f.Details, one.name+": "+err.Error())
		}
	}
	if len(f.Details) > 0 {
		return f.Failed("jobgate cannot be asked as kube-apiserver asks it",
			"compare address, CA and client certificate in these kubeconfigs with serving in the configuration")
	}
	return f.Well("jobgate answers with kube-apiserver's kubeconfigs, and both ends trust each other")
}

func (e *examination) askJobgate(ctx context.Context, kubeconfig string, review any) error {
	target, err := readKubeconfig(kubeconfig, e.onNode)
	if err != nil {
		return err
	}
	client, err := rest.HTTPClientFor(target)
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	body, err := json.Marshal(review)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, target.Host, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	return wantOK(client.Do, request)
}

// apiServer is a client of the API server for the administrator.
func (e *examination) apiServer() (*reviews.Client, error) {
	if e.adminError != nil {
		return nil, e.adminError
	}
	admin := rest.CopyConfig(e.admin)
	admin.UserAgent, admin.Timeout = e.UserAgent, askTimeout
	return reviews.New(admin)
}

// checkLogin presents a made-up token of this cluster to the API server. jobgate must have refused it.
func (e *examination) checkLogin(ctx context.Context) findings.Finding {
	f := findings.Finding{Name: "login"}
	if e.config == nil {
		return f.NotChecked(whyNoConfig)
	}
	if e.verifiesItself {
		return f.NotChecked("kube-apiserver verifies GitLab's ID tokens by itself, and does not ask jobgate about tokens")
	}
	client, err := e.apiServer()
	if err != nil {
		return withoutAdmin(f, err)
	}
	credential, label := "ci:"+e.config.Cluster.Name+":x", "cluster "+e.config.Cluster.Name
	if len(e.config.Agents) > 0 {
		id := strconv.FormatInt(e.config.Agents[0].ID, 10)
		credential, label = "ci:"+id+":x", "agent "+id
	}
	review := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: credential}}
	err = client.Authentication.Post().Resource("tokenreviews").MaxRetries(0).Body(review).Do(ctx).Into(review)
	reason := review.Status.Error
	switch {
	case err != nil:
		return notAsked(f, "TokenReview", err)
	case review.Status.Authenticated:
		return f.Failed(fmt.Sprintf("the API server accepts a made-up token as %q", review.Status.User.Username),
			"look which authenticator accepts any token, and remove it")
	case !strings.Contains(reason, label):
		return f.Failed(fmt.Sprintf("the API server refuses a made-up token of %s without jobgate's reason (it says %q)", label, reason),
			"see the findings apiserver and connection; kube-apiserver reads its flags when it starts")
	case strings.Contains(reason, "could not be checked"):
		return f.Failed("the API server asks jobgate, which could not ask GitLab: "+reason, "see the finding gitlab")
	}
	return f.Well("the API server asks jobgate about tokens; of a made-up one it says: " + reason)
}

// checkRequest asks the API server about a request of a job through an agent that this cluster does not have. jobgate must deny it.
func (e *examination) checkRequest(ctx context.Context) findings.Finding {
	f := findings.Finding{Name: "requests"}
	if e.config == nil {
		return f.NotChecked(whyNoConfig)
	}
	client, err := e.apiServer()
	if err != nil {
		return withoutAdmin(f, err)
	}
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: "gitlab:ci_job:1", Groups: []string{"gitlab:ci_job"},
		Extra: map[string]authorizationv1.ExtraValue{
			extras.Agent: {strconv.FormatInt(e.unknownAgent(), 10)}, extras.ConfigProject: {"1"},
			extras.Project: {"1"}, extras.Pipeline: {"1"}, extras.Job: {"1"}, extras.Username: {"jobgate-check"},
		},
		ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: "default", Verb: "get", Resource: "pods"},
	}}
	err = client.Authorization.Post().Resource("subjectaccessreviews").MaxRetries(0).Body(review).Do(ctx).Into(review)
	status := review.Status
	switch {
	case err != nil:
		return notAsked(f, "SubjectAccessReview", err)
	case status.Denied && strings.HasPrefix(status.Reason, saysJobgate):
		return f.Well("the API server asks jobgate about requests; of a job through an unknown agent it says: " + status.Reason)
	case status.Allowed:
		return f.Failed(fmt.Sprintf("the API server allows a request that jobgate would deny (it says %q)", status.Reason),
			"put jobgate before the authorizer that allows it; see the finding apiserver")
	}
	return f.Failed(fmt.Sprintf("the API server does not ask jobgate about a job's request (it says %q, error %q)", status.Reason, status.EvaluationError),
		"see the findings apiserver and connection")
}

// unknownAgent is an agent's id that is not configured.
func (e *examination) unknownAgent() int64 {
	id := int64(math.MaxInt64)
	for slices.ContainsFunc(e.config.Agents, func(a config.Agent) bool { return a.ID == id }) {
		id--
	}
	return id
}

// withoutAdmin is a warning: what could not be shown is the point of the whole.
func withoutAdmin(f findings.Finding, err error) findings.Finding {
	if errors.Is(err, errNoKubeconfig) {
		return f.Warned("the API server was not asked", "give the administrator's kubeconfig with --kubeconfig")
	}
	return f.Failed("the administrator's kubeconfig cannot be used: "+err.Error(), "give another with --kubeconfig")
}

func notAsked(f findings.Finding, kind string, err error) findings.Finding {
	if apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) {
		return f.Failed("the kubeconfig's user may not create a "+kind+": "+err.Error(), "give an administrator's kubeconfig with --kubeconfig")
	}
	return f.Failed("the API server cannot be asked: "+err.Error(), "look whether kube-apiserver runs, and whether the kubeconfig names it")
}
