package idtoken_test

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/jobgate/jobgate/internal/gitlab"
	"github.com/jobgate/jobgate/internal/gitlabtest"
	"github.com/jobgate/jobgate/internal/idtoken"
	"github.com/jobgate/jobgate/internal/job"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	audience    = "https://kubernetes.example.com"
	accessToken = "glpat-AccessAccessAccess"
	jobID       = 1001
)

// fixture is a source in front of a fake GitLab with one job, on the protected branch main, in an environment.
type fixture struct {
	*idtoken.Source
	gitlab *gitlabtest.Server
	config idtoken.Config
	client *gitlab.Client
}

func instance() gitlabtest.Instance {
	return gitlabtest.Instance{
		Settings: gitlabtest.Settings{Licensed: true},
		Groups:   []gitlabtest.Group{{ID: 23, Path: "group1"}, {ID: 25, Parent: 23, Path: "group1/sub"}},
		Projects: []gitlabtest.Project{
			{
				ID: 150, Group: 25, Path: "group1/sub/project1", Branches: []string{"main"}, ProtectedBranches: []string{"main"},
				Environments: []gitlabtest.Environment{{ID: 1, Name: "eu/prod", Tier: "production"}},
			},
			{ID: 160, Group: 23, Path: "group1/fork"},
		},
		Users: []gitlabtest.User{{ID: 9, Username: "jdoe", Access: map[int64]int{150: 40, 160: 50}}},
		Jobs: []gitlabtest.Job{{
			ID: jobID, Project: 150, User: 9, Status: "running", Environment: "eu/prod",
			Pipeline: gitlabtest.Pipeline{ID: 501, Ref: "main", Source: "push", SHA: "0ff3ae198f8601a285adcf5c0fff204ee6fba5fd"},
		}},
		Tokens: []gitlabtest.AccessToken{{Token: accessToken, User: 9, Scopes: []string{"read_api"}}},
	}
}

func newFixture(t testing.TB, i gitlabtest.Instance, access string) *fixture {
	t.Helper()
	f := &fixture{gitlab: gitlabtest.New(t, i)}
	var err error
	f.client, err = gitlab.New(gitlab.Options{
		URL: f.gitlab.URL(), Timeout: 5 * time.Second, MaxInFlight: 64, RequestsPerSecond: 1e4, Burst: 1e4,
		RetryInterval: time.Millisecond, AccessToken: access,
	})
	if err != nil {
		t.Fatal(err)
	}
	f.config = idtoken.Config{URL: f.gitlab.URL(), Issuer: f.gitlab.URL(), Audience: audience, RequireLiveness: access != ""}
	f.Source = idtoken.New(f.config, f.client, nil)
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { f.Run(ctx) })
	t.Cleanup(func() { stop(); running.Wait(); f.client.Close() })
	return f
}

// token is the job's ID token, with some claims changed; nil removes one.
func (f *fixture) token(t testing.TB, changes map[string]any) string {
	t.Helper()
	claims, err := f.gitlab.IDTokenClaims(jobID, audience)
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(claims, changes)
	for name, value := range changes {
		if value == nil {
			delete(claims, name)
		}
	}
	return f.sign(t, gitlabtest.CIKey, nil, claims)
}

func (f *fixture) sign(t testing.TB, key gitlabtest.SigningKey, header map[string]any, claims map[string]any) string {
	t.Helper()
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	token, err := f.gitlab.Sign(key, header, payload)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func (f *fixture) identify(token string) (*job.Job, error) {
	return f.Identify(context.Background(), token, nil, job.Logins)
}

func wantRejected(t *testing.T, err error, want job.Rejection, token string) {
	t.Helper()
	var rejected *job.RejectedError
	if !errors.As(err, &rejected) || rejected.Rejection != want {
		t.Fatalf("error is %v, want %s", err, want)
	}
	if want == job.Invalid && rejected.Message == "" {
		t.Error("the rejection gives no reason")
	}
	for i := 0; i+12 <= len(token); i += 12 {
		if strings.Contains(err.Error(), token[i:i+12]) {
			t.Fatal("the error repeats a part of the token")
		}
	}
}

func TestIdentify_IsWhatTheClaimsSay(t *testing.T) {
	f := newFixture(t, instance(), accessToken)
	got, err := f.identify(f.token(t, map[string]any{"jti": "jti-1"}))
	if err != nil {
		t.Fatal(err)
	}
	want := &job.Job{
		ID: jobID, PipelineID: 501, ProjectID: 150, UserID: 9, Username: "jdoe",
		Groups: job.KnownFact([]int64{25, 23}),
		Roles:  job.KnownFact([]string{"guest", "planner", "reporter", "security_manager", "developer", "maintainer"}),
		Environment: job.Environment{
			Slug: "eu-prod-lb01nz", Tier: "production", Name: job.KnownFact("eu/prod"), Protected: job.KnownFact(false),
		},
		Ref:            job.Ref{Name: "main", Type: job.Branch, Protection: job.Protected},
		PipelineSource: job.KnownFact("push"),
		Commit:         "0ff3ae198f8601a285adcf5c0fff204ee6fba5fd",
		URL:            f.gitlab.URL() + "/group1/sub/project1/-/jobs/1001",
		TokenID:        "jti-1", KeyID: got.KeyID,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("job (-want +got):\n%s", diff)
	}
}

func TestIdentify_RefusesBadTokens(t *testing.T) {
	f := newFixture(t, instance(), accessToken)
	good := f.token(t, nil)
	if _, err := f.identify(good); err != nil {
		t.Fatal(err) // the keys are known from here on
	}
	now := time.Now()
	claims := func(changes map[string]any) string { return f.token(t, changes) }
	header := func(h map[string]any) string {
		c, err := f.gitlab.IDTokenClaims(jobID, audience)
		if err != nil {
			t.Fatal(err)
		}
		return f.sign(t, gitlabtest.CIKey, h, c)
	}
	rows := []struct {
		name, token string
		want        job.Rejection
	}{
		{name: "alg none", token: header(map[string]any{"alg": "none"})},
		{name: "alg none without a signature", token: strings.TrimSuffix(header(map[string]any{"alg": "none"}), lastPart(header(map[string]any{"alg": "none"})))},
		{name: "HS256 with the public key as secret", token: hmacSigned(t, f)},
		{name: "RS512 in the header", token: header(map[string]any{"alg": "RS512"})},
		{name: "no kid", token: header(map[string]any{"kid": nil})},
		{name: "unknown kid", token: header(map[string]any{"kid": "unknown"})},
		{name: "the kid of another key", token: withKey(t, f, gitlabtest.ForeignKey, kidOf(t, good))},
		{name: "a key that is not in the set", token: withKey(t, f, gitlabtest.ForeignKey, "")},
		{name: "a person's login token, of GitLab's other key", token: f.sign(t, gitlabtest.UserLoginKey, nil, map[string]any{
			"iss": f.gitlab.URL(), "aud": audience, "sub": "9", "exp": now.Add(time.Hour).Unix(), "iat": now.Unix(),
		})},
		{name: "changed claims", token: replacePart(good, 1, `{"iss":"x"}`)},
		{name: "no job_id", token: claims(map[string]any{"job_id": nil})},
		{name: "no pipeline_id", token: claims(map[string]any{"pipeline_id": nil})},
		{name: "no job_project_id", token: claims(map[string]any{"job_project_id": nil})},
		{name: "job_id as a number", token: claims(map[string]any{"job_id": 1001})},
		{name: "job_id with a leading zero", token: claims(map[string]any{"job_id": "01001"})},
		{name: "job_id negative", token: claims(map[string]any{"job_id": "-1"})},
		{name: "job_id too large", token: claims(map[string]any{"job_id": "9223372036854775808"})},
		{name: "ref_protected as a boolean", token: claims(map[string]any{"ref_protected": true})},
		{name: "two audiences", token: claims(map[string]any{"aud": []string{audience, "vault"}})},
		{name: "the same audience twice", token: claims(map[string]any{"aud": []string{audience, audience}})},
		{name: "no jti, by which the extras tell an ID token's job", token: claims(map[string]any{"jti": nil})},
		{name: "no login name", token: claims(map[string]any{"user_login": nil})},
		{name: "environment without a tier", token: claims(map[string]any{"deployment_tier": nil})},
		{name: "a tier that is none", token: claims(map[string]any{"deployment_tier": "prod:production"})},
		{name: "ends before it begins", token: claims(map[string]any{"iat": now.Add(20 * time.Second).Unix(), "exp": now.Add(10 * time.Second).Unix(), "nbf": nil})},
		{name: "begins in 24 h", token: claims(map[string]any{"nbf": now.Add(24 * time.Hour).Unix(), "exp": now.Add(25 * time.Hour).Unix()})},
		{name: "issued in 24 h", token: claims(map[string]any{"iat": now.Add(24 * time.Hour).Unix(), "nbf": nil, "exp": now.Add(25 * time.Hour).Unix()})},
		{name: "an end with an exponent", token: claims(map[string]any{"exp": json.RawMessage("9e9")})},
		{name: "an end with a fraction", token: claims(map[string]any{"exp": json.RawMessage("9000000000.5")})},
		{name: "an end in a string", token: claims(map[string]any{"exp": "9000000000"})},
		{name: "no end", token: claims(map[string]any{"exp": nil})},
		{name: "expired, beyond the leeway", token: claims(map[string]any{"exp": now.Add(-31 * time.Second).Unix()}), want: job.Expired},
		{name: "a claim twice", token: f.signText(t, strings.Replace(f.payload(t), `{`, `{"job_id":"1",`, 1))},
		{name: "a claim twice, spelled with an escape", token: f.signText(t, strings.Replace(f.payload(t), `{`, `{"job\u005fid":"1",`, 1))},
		{name: "padding", token: good + "="},
		{name: "a line break", token: good[:20] + "\n" + good[20:]},
		{name: "a fourth part", token: good + ".x"},
		{name: "not canonical", token: nonCanonical(good)},
		{name: "17 KB", token: claims(map[string]any{"groups_direct": strings.Repeat("x", 13000)})},
	}
	f.gitlab.ResetCalls()
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			want := row.want
			if want == "" {
				want = job.Invalid
			}
			_, err := f.identify(row.token)
			wantRejected(t, err, want, row.token)
		})
	}
	if calls := f.gitlab.Calls(gitlabtest.AnyEndpoint); calls != 0 {
		t.Errorf("GitLab was asked %d times for tokens that are bad", calls)
	}
}

func TestIdentify_TakesWhatGitLabCanWrite(t *testing.T) {
	f := newFixture(t, instance(), accessToken)
	rows := []struct {
		name    string
		changes map[string]any
	}{
		{"an array with one audience", map[string]any{"aud": []string{audience}}},
		{"expired a second ago", map[string]any{"iat": time.Now().Add(-time.Hour).Unix(), "exp": time.Now().Add(-time.Second).Unix()}},
		{"a project that was renamed after the job had begun", map[string]any{"job_project_path": "group1/old", "project_path": "group1/old"}},
		{"claims that GitLab may add", map[string]any{"a": 1, "b": []any{map[string]any{"c": nil}}}},
		{"no environment", map[string]any{"environment": nil, "deployment_tier": nil, "environment_protected": nil}},
		{"no role", map[string]any{"user_access_level": nil}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if _, err := f.identify(f.token(t, row.changes)); err != nil {
				t.Error(err)
			}
		})
	}
}

// The largest token that GitLab writes: 200 groups of the user, and a signature by a key of 4096 bits.
func TestIdentify_LargestToken(t *testing.T) {
	i := instance()
	for n := range 200 {
		i.Users[0].DirectGroups = append(i.Users[0].DirectGroups, fmt.Sprintf("group-with-a-name/subgroup-with-a-name/%d", n))
	}
	f := newFixture(t, i, accessToken)
	if err := f.gitlab.RotateSigningKey(4096); err != nil {
		t.Fatal(err)
	}
	token := f.token(t, nil)
	if len(token) < 12<<10 {
		t.Errorf("the token has %d bytes, want 12 KiB or more", len(token))
	}
	if _, err := f.identify(token); err != nil {
		t.Error(err)
	}
}

// A fork's claims about ref and role are those of a project that its author owns.
func TestIdentify_ForksMergeRequest(t *testing.T) {
	i := instance()
	i.Jobs[0].Pipeline = gitlabtest.Pipeline{
		ID: 501, Ref: "refs/merge-requests/1/head", Kind: "merge_request", SourceBranch: "main", SourceProject: 160,
	}
	f := newFixture(t, i, accessToken)
	got, err := f.identify(f.token(t, map[string]any{"ref_protected": "true"}))
	if err != nil {
		t.Fatal(err)
	}
	if got.ProjectID != 150 || got.Ref.Name != "" || got.Ref.Type != "" || got.Ref.Protection != job.Unprotected || !got.Ref.MergeRequest ||
		len(got.Roles.Value) > 0 {
		t.Errorf("project %d, ref %+v, roles %+v", got.ProjectID, got.Ref, got.Roles)
	}
}

func TestIdentify_MergeRequestIsNeverProtected(t *testing.T) {
	f := newFixture(t, instance(), accessToken)
	got, err := f.identify(f.token(t, map[string]any{"pipeline_source": "merge_request_event", "ref_protected": "true"}))
	if err != nil {
		t.Fatal(err)
	}
	if got.Ref.Protection != job.Unprotected || !got.Ref.MergeRequest {
		t.Errorf("ref is %+v", got.Ref)
	}
}

func TestIdentify_Liveness(t *testing.T) {
	rows := []struct {
		status string
		want   job.Rejection
	}{
		{status: "running"},
		{status: "canceling", want: job.NotRunning},
		{status: "success", want: job.NotRunning},
		{status: "failed", want: job.NotRunning},
	}
	for _, row := range rows {
		t.Run(row.status, func(t *testing.T) {
			f := newFixture(t, instance(), accessToken)
			token := f.token(t, nil)
			if err := f.gitlab.Update(func(i *gitlabtest.Instance) { i.Job(jobID).Status = row.status }); err != nil {
				t.Fatal(err)
			}
			_, err := f.identify(token)
			if row.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantRejected(t, err, row.want, token)
		})
	}
}

// A verified token is looked at again by its key, its job's liveness and its groups; the signature costs nothing more.
func TestIdentify_KnownTokenNeedsNoToken(t *testing.T) {
	f := newFixture(t, instance(), accessToken)
	first, err := f.identify(f.token(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	again, err := f.Identify(t.Context(), "", first, job.Refreshes)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first, again); diff != "" {
		t.Errorf("job (-first +again):\n%s", diff)
	}
	if got := f.gitlab.Calls(gitlabtest.KeySet); got != 1 {
		t.Errorf("the keys were fetched %d times, want once", got)
	}
}

func TestIdentify_WithoutAccessToken(t *testing.T) {
	f := newFixture(t, instance(), "")
	got, err := f.identify(f.token(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	if got.Groups.Known || got.Groups.Why == "" {
		t.Errorf("groups are %+v, want a reason", got.Groups)
	}
	if calls := f.gitlab.Calls(gitlabtest.AnyEndpoint); calls != 1 {
		t.Errorf("GitLab was asked %d times, want once for the keys", calls)
	}
}

func TestIdentify_TroubleAtAProjectsFirstLogin(t *testing.T) {
	f := newFixture(t, instance(), accessToken)
	f.gitlab.Fault(gitlabtest.Fault{Endpoint: gitlabtest.ProjectGroups, Status: 502})
	_, err := f.identify(f.token(t, nil))
	var unavailable *job.UnavailableError
	if !errors.As(err, &unavailable) {
		t.Errorf("error is %v, want trouble", err)
	}
}

func lastPart(token string) string { return token[strings.LastIndex(token, ".")+1:] }

func replacePart(token string, part int, with string) string {
	parts := strings.Split(token, ".")
	parts[part] = base64.RawURLEncoding.EncodeToString([]byte(with))
	return strings.Join(parts, ".")
}

// nonCanonical changes the unused bits of the last character of the signature.
func nonCanonical(token string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	at := strings.IndexByte(alphabet, token[len(token)-1])
	return token[:len(token)-1] + string(alphabet[at^1])
}

func kidOf(t *testing.T, token string) string {
	t.Helper()
	parsed, _, err := jwt.NewParser().ParseUnverified(token, jwt.MapClaims{})
	if err != nil {
		t.Fatal(err)
	}
	return parsed.Header["kid"].(string)
}

func withKey(t *testing.T, f *fixture, key gitlabtest.SigningKey, kid string) string {
	t.Helper()
	claims, err := f.gitlab.IDTokenClaims(jobID, audience)
	if err != nil {
		t.Fatal(err)
	}
	header := map[string]any{}
	if kid != "" {
		header["kid"] = kid
	}
	return f.sign(t, key, header, claims)
}

// hmacSigned is the classic confusion: the public key, which everyone has, as an HMAC secret.
func hmacSigned(t *testing.T, f *fixture) string {
	t.Helper()
	key, err := f.gitlab.PublicKey(gitlabtest.CIKey)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	claims, err := f.gitlab.IDTokenClaims(jobID, audience)
	if err != nil {
		t.Fatal(err)
	}
	token := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims(claims))
	token.Header["kid"] = kidOf(t, f.token(t, nil))
	signed, err := token.SignedString(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func (f *fixture) payload(t *testing.T) string {
	t.Helper()
	claims, err := f.gitlab.IDTokenClaims(jobID, audience)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func (f *fixture) signText(t *testing.T, payload string) string {
	t.Helper()
	token, err := f.gitlab.Sign(gitlabtest.CIKey, nil, []byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	return token
}
