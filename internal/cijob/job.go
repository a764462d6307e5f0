// Package cijob reads the environment of a GitLab CI job and makes the job's kubeconfig from it.
//
// It runs inside jobs and has the job's own token and nothing else. It knows GitLab's variables, the names that GitLab gives
// to contexts, and kubeconfig files. It must not know what a cluster does with the token, or what commands look like.
package cijob

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"k8s.io/client-go/util/cert"

	"github.com/jobgate/jobgate/internal/file"
	"github.com/jobgate/jobgate/internal/gitlab"
)

// The variables that GitLab sets in a job ("Predefined CI/CD variables reference").
const (
	VarJobToken        = "CI_JOB_TOKEN"
	VarJobID           = "CI_JOB_ID"
	VarProjectID       = "CI_PROJECT_ID"
	VarProjectPath     = "CI_PROJECT_PATH"
	VarRootNamespace   = "CI_PROJECT_ROOT_NAMESPACE"
	VarAPIURL          = "CI_API_V4_URL"
	VarServerURL       = "CI_SERVER_URL"
	VarServerCAFile    = "CI_SERVER_TLS_CA_FILE" // where the runner's configuration has a CA for GitLab
	VarEnvironmentName = "CI_ENVIRONMENT_NAME"
	VarRefName         = "CI_COMMIT_REF_NAME"
	VarRefProtected    = "CI_COMMIT_REF_PROTECTED"
	VarPipelineSource  = "CI_PIPELINE_SOURCE"
	VarMergeRequestID  = "CI_MERGE_REQUEST_IID"
	VarKubeconfig      = "KUBECONFIG" // only where an agent is open to the job, and GitLab's agent server is on
)

// The variables that a job's author sets. GitLab uses none of these names. It does use KUBE_URL, so jobgate never reads
// that one: see ServerURL.
const (
	VarURL       = "JOBGATE_URL"       // the API server's address
	VarCAFile    = "JOBGATE_CA_FILE"   // its CA: a variable of type file
	VarContext   = "JOBGATE_CONTEXT"   // the context to use
	VarNamespace = "JOBGATE_NAMESPACE" // the contexts' namespace
	VarAgentID   = "JOBGATE_AGENT_ID"  // the id of the agent to use, where GitLab makes no context
	VarCluster   = "JOBGATE_CLUSTER"   // the cluster's name, to log in without an agent

	VarIDTokenVariable = "JOBGATE_ID_TOKEN_VARIABLE" // the name of the variable with an ID token for that cluster
)

// GitLab sets these for a cluster that is connected with certificates (deprecated): the address of that cluster's API
// server, and a token for it.
const (
	varKubeURL   = "KUBE_URL"
	varKubeToken = "KUBE_TOKEN"
)

// Bounds of the client. A job asks its GitLab one or two questions, one after the other.
const (
	maxInFlight       = 2
	requestsPerSecond = 10
	burst             = 10
)

const (
	apiPath           = "/api/v4"
	mergeRequestEvent = "merge_request_event"
	pemBegin          = "-----BEGIN "
	// maxPEM bounds a CA bundle, in bytes. The largest that systems ship has a quarter of it.
	maxPEM = 1 << 20
)

// Variables returns the value of a CI/CD variable, empty for one that is not set. os.Getenv is one.
type Variables func(name string) string

// Job is what the environment says about the job. GitLab has confirmed none of it.
type Job struct {
	Token     Token
	GitLabURL string // with the relative URL root, if GitLab has one; without a slash at the end
	GitLabCA  string // a file with CA certificates, or such certificates themselves; empty: only the system's
	ID        int64  // 0: unknown
	ProjectID int64  // 0: unknown
}

// Errors of Read. None repeats a value.
var (
	ErrNoToken = errors.New(VarJobToken + " is not set: GitLab sets it in every job, so run this in the script of one")
	ErrNoURL   = errors.New(VarAPIURL + " is not set: GitLab sets it in every job, so run this in the script of one")
	ErrURL     = errors.New("is not a URL of the form https://HOST[:PORT][/PATH]")
)

// Read reads the job from its environment. The error joins everything that is missing to ask GitLab about the job; the Job
// then has the rest.
func Read(v Variables) (Job, error) {
	j := Job{
		Token:     NewToken(v(VarJobToken)),
		GitLabCA:  v(VarServerCAFile),
		ID:        readID(v(VarJobID)),
		ProjectID: readID(v(VarProjectID)),
	}
	var errs []error
	if j.Token.Empty() {
		errs = append(errs, ErrNoToken)
	}
	var err error
	if j.GitLabURL, err = gitlabURL(v); err != nil {
		errs = append(errs, err)
	}
	return j, errors.Join(errs...)
}

// OfMergeRequest says whether the job belongs to a merge request's pipeline, whose ref GitLab never counts as protected.
func OfMergeRequest(v Variables) bool {
	return v(VarMergeRequestID) != "" || v(VarPipelineSource) == mergeRequestEvent
}

// Client returns a client for the job's GitLab, to be closed; timeout bounds one lookup.
func (j Job) Client(userAgent string, timeout time.Duration) (*gitlab.Client, error) {
	var bundle []byte
	if j.GitLabCA != "" {
		var err error
		if bundle, err = ReadCA(j.GitLabCA); err != nil {
			return nil, fmt.Errorf("read GitLab's CA (%s): %w", VarServerCAFile, err)
		}
	}
	return gitlab.New(gitlab.Options{
		URL: j.GitLabURL, CABundle: bundle, Timeout: timeout, UserAgent: userAgent,
		MaxInFlight: maxInFlight, RequestsPerSecond: requestsPerSecond, Burst: burst,
	})
}

// gitlabURL prefers the API's URL, which no setting of the project changes.
func gitlabURL(v Variables) (string, error) {
	name, text := VarAPIURL, strings.TrimSuffix(strings.TrimRight(v(VarAPIURL), "/"), apiPath)
	if text == "" {
		name, text = VarServerURL, strings.TrimRight(v(VarServerURL), "/")
	}
	if text == "" {
		return "", ErrNoURL
	}
	u, err := url.Parse(text)
	// The text is not repeated, because it may hold a password.
	if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.User != nil || u.RawQuery != "" {
		return "", fmt.Errorf("%s %w", name, ErrURL)
	}
	return text, nil
}

// readID returns 0 for anything but a number greater than 0.
func readID(text string) int64 {
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil || id < 0 {
		return 0
	}
	return id
}

// ReadCA reads CA certificates in PEM from a file of at most 1 MiB. The value may also be PEM itself: a job gets that if a
// CI/CD variable has the type variable instead of file, and from old GitLab versions for a file variable inside another
// variable (gitlab#13341).
func ReadCA(fileOrPEM string) ([]byte, error) {
	text := []byte(fileOrPEM)
	name := "the value"
	if !strings.HasPrefix(strings.TrimSpace(fileOrPEM), pemBegin) {
		var err error
		if text, err = file.Read(fileOrPEM, maxPEM); err != nil {
			return nil, err
		}
		name = fileOrPEM
	}
	if _, err := cert.ParseCertsPEM(text); err != nil {
		return nil, fmt.Errorf("%s has no certificate in PEM: %w", name, err)
	}
	return text, nil
}
