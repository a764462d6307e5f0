package gitlabtest_test

import (
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/jobgate/jobgate/internal/gitlabtest"
)

const audience = "https://cluster.example.com"

// keySet are the published keys by id.
func (g *gitlab) keySet() map[string]*rsa.PublicKey {
	g.t.Helper()
	r := g.beside("/oauth/discovery/keys")
	var set struct {
		Keys []struct{ Kty, Kid, E, N, Use, Alg string }
	}
	decoder := json.NewDecoder(strings.NewReader(r.body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&set); err != nil {
		g.t.Fatalf("%s: %v", r.body, err)
	}
	keys := map[string]*rsa.PublicKey{}
	for _, k := range set.Keys {
		if k.Kty != "RSA" || k.Use != "sig" || k.Alg != "RS256" {
			g.t.Errorf("key %+v", k)
		}
		keys[k.Kid] = &rsa.PublicKey{N: number(g.t, k.N), E: int(number(g.t, k.E).Int64())}
	}
	return keys
}

func number(t testing.TB, text string) *big.Int {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return new(big.Int).SetBytes(raw)
}

// beside asks for what is outside the API.
func (g *gitlab) beside(path string) reply {
	g.t.Helper()
	r, err := http.NewRequestWithContext(g.t.Context(), http.MethodGet, g.URL()+path, nil)
	if err != nil {
		g.t.Fatal(err)
	}
	return g.do(r)
}

// verify reads a token with the published keys.
func (g *gitlab) verify(token string) (map[string]any, error) {
	g.t.Helper()
	keys, claims := g.keySet(), jwt.MapClaims{}
	_, err := jwt.NewParser(jwt.WithValidMethods([]string{"RS256"}), jwt.WithJSONNumber()).
		ParseWithClaims(token, claims, func(parsed *jwt.Token) (any, error) {
			kid, _ := parsed.Header["kid"].(string)
			if keys[kid] == nil {
				return nil, errUnknownKey
			}
			return keys[kid], nil
		})
	return claims, err
}

var errUnknownKey = errors.New("unknown key")

func (g *gitlab) idToken(job int64) string {
	g.t.Helper()
	token, err := g.IDToken(job, audience)
	if err != nil {
		g.t.Fatal(err)
	}
	return token
}

func (g *gitlab) claims(job int64) map[string]any {
	g.t.Helper()
	claims, err := g.IDTokenClaims(job, audience)
	if err != nil {
		g.t.Fatal(err)
	}
	return claims
}

func TestIDToken_HasGitLabsClaims(t *testing.T) {
	w := example("")
	const sha = "0ff3ae198f8601a285adcf5c0fff204ee6fba5fd"
	w.Projects[0].ProtectedEnvironments, w.Jobs[0].Pipeline.SHA = []string{"prod"}, sha
	now := time.Now().Truncate(time.Second)
	g := start(t, gitlabtest.Options{Instance: w, Now: func() time.Time { return now }})
	got, err := g.verify(g.idToken(job))
	if err != nil {
		t.Fatal(err)
	}
	if id, _ := got["jti"].(string); len(id) != 36 {
		t.Errorf("jti %v", got["jti"])
	}
	delete(got, "jti")
	seconds := func(after time.Duration) json.Number {
		raw, _ := json.Marshal(now.Add(after).Unix())
		return json.Number(raw)
	}
	const path = "group1/group1-1/project1"
	want := map[string]any{
		"iss": g.URL(), "aud": audience, "sub": "project_path:" + path + ":ref_type:branch:ref:main",
		"iat": seconds(0), "nbf": seconds(-5 * time.Second), "exp": seconds(time.Hour),
		"project_id": "150", "project_path": path, "namespace_id": "25", "namespace_path": "group1/group1-1",
		"job_project_id": "150", "job_project_path": path, "job_namespace_id": "25",
		"job_namespace_path": "group1/group1-1",
		"source_project_id":  "150", "source_project_path": path, "source_namespace_id": "25",
		"source_namespace_path": "group1/group1-1",
		"user_id":               "9", "user_login": "jdoe", "user_email": "jdoe@example.com", "user_access_level": "developer",
		"pipeline_id": "501", "pipeline_source": "push", "job_id": "1001", "job_source": "pipeline",
		"ref": "main", "ref_type": "branch", "ref_path": "refs/heads/main", "ref_protected": "true",
		"environment": "prod", "environment_protected": "true", "deployment_tier": "production",
		"environment_action": "start",
		"runner_id":          json.Number("1"), "runner_environment": "self-hosted",
		"sha": sha, "ci_config_sha": sha, "project_visibility": "private",
		"ci_config_ref_uri": strings.TrimPrefix(g.URL(), "http://") + "/" + path + "//.gitlab-ci.yml@refs/heads/main",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// absent is the value of a claim that is not there.
const absent = "(absent)"

func TestIDToken_ClaimsFollowTheInstance(t *testing.T) {
	fork := func(w *gitlabtest.Instance) {
		w.Projects = append(w.Projects, gitlabtest.Project{ID: 900, Path: "jdoe/Project1", UserNamespace: 300})
		w.Users[0].Access[900] = 50
		w.Jobs[0].Pipeline = gitlabtest.Pipeline{
			ID: 501, Kind: "merge_request", Ref: "refs/merge-requests/3/head", SourceBranch: "main", SourceProject: 900,
		}
	}
	release := func(version string) func(*gitlabtest.Instance) {
		return func(w *gitlabtest.Instance) { w.Settings.Release = version }
	}
	both := func(changes ...func(*gitlabtest.Instance)) func(*gitlabtest.Instance) {
		return func(w *gitlabtest.Instance) {
			for _, change := range changes {
				change(w)
			}
		}
	}
	tests := []struct {
		name   string
		change func(*gitlabtest.Instance)
		want   map[string]any
	}{
		{name: "before 18.9", change: release("18.8"), want: map[string]any{"job_source": absent}},
		{name: "before 18.3", change: release("18.2.9"), want: map[string]any{
			"job_project_id": absent, "job_project_path": absent, "job_namespace_id": absent, "project_id": "150",
		}},
		{name: "before 16.9", change: release("16.8"), want: map[string]any{"user_access_level": absent}},
		{name: "before 16.0", change: release("15.11"), want: map[string]any{"ref_path": absent, "ref": "main"}},

		{name: "merge request of a fork", change: fork, want: map[string]any{
			"project_id": "900", "project_path": "jdoe/Project1", "namespace_id": "300", "namespace_path": "jdoe",
			"job_project_id": "150", "job_project_path": "group1/group1-1/project1", "user_access_level": "owner",
			"ref": "main", "ref_type": "branch", "ref_path": "refs/heads/main", "ref_protected": "false",
			"pipeline_source": "merge_request_event", "sub": "project_path:jdoe/Project1:ref_type:branch:ref:main",
		}},
		{name: "merge request of a fork before 18.2.2", change: both(fork, release("18.2.1")), want: map[string]any{
			"project_id": "150", "sub": "project_path:group1/group1-1/project1:ref_type:branch:ref:main",
		}},
		{name: "tag", change: func(w *gitlabtest.Instance) {
			w.Jobs[0].Pipeline = gitlabtest.Pipeline{ID: 501, Kind: "tag", Ref: "v1.0"}
		}, want: map[string]any{"ref": "v1.0", "ref_type": "tag", "ref_path": "refs/tags/v1.0", "ref_protected": "true"}},
		{name: "no environment", change: func(w *gitlabtest.Instance) { w.Jobs[0].Environment = "" }, want: map[string]any{
			"environment": absent, "environment_protected": absent, "deployment_tier": absent, "environment_action": absent,
		}},
		{name: "environment without a row", change: func(w *gitlabtest.Instance) { w.Jobs[0].Environment = "new" },
			want: map[string]any{"environment": absent}},
		{name: "the job's own tier comes first", change: func(w *gitlabtest.Instance) {
			w.Jobs[0].DeploymentTier, w.Jobs[0].EnvironmentAction = "staging", "stop"
		}, want: map[string]any{"deployment_tier": "staging", "environment_action": "stop"}},
		{name: "environment protected without a licence", change: func(w *gitlabtest.Instance) {
			w.Projects[0].ProtectedEnvironments, w.Settings.Licensed = []string{"prod"}, false
		}, want: map[string]any{"environment_protected": "false"}},
		{name: "no user", change: func(w *gitlabtest.Instance) { w.Jobs[0].User = 0 },
			want: map[string]any{"user_id": "", "user_login": nil, "user_email": nil, "user_access_level": nil}},
		{name: "user who is no member", change: func(w *gitlabtest.Instance) { w.Users[0].Access = nil },
			want: map[string]any{"user_id": "9", "user_access_level": nil}},
		{name: "200 groups of the user", change: func(w *gitlabtest.Instance) { w.Users[0].DirectGroups = groups(200) },
			want: map[string]any{"groups_direct": groups(200)}},
		{name: "201 groups of the user", change: func(w *gitlabtest.Instance) { w.Users[0].DirectGroups = groups(201) },
			want: map[string]any{"groups_direct": absent}},
		{name: "renamed project", change: func(w *gitlabtest.Instance) { w.Projects[0].Path = "group1/new" },
			want: map[string]any{"job_project_id": "150", "job_project_path": "group1/new", "namespace_path": "group1"}},
		{name: "other issuer", change: func(w *gitlabtest.Instance) { w.Settings.IDTokenIssuer = "https://bucket.example.com" },
			want: map[string]any{"iss": "https://bucket.example.com"}},
		{name: "other subject", change: func(w *gitlabtest.Instance) {
			w.Projects[0].IDTokenSubject = []string{"project_id", "ref_protected"}
		}, want: map[string]any{"sub": "project_id:150:ref_protected:true"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := example("")
			test.change(&w)
			claims := startInstance(t, w).claims(job)
			for name, want := range test.want {
				got, found := claims[name]
				if !found {
					got = absent
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s: %s", name, diff)
				}
			}
		})
	}
}

func groups(n int) []string {
	paths := make([]string, n)
	for i := range paths {
		paths[i] = "group1/" + strings.Repeat("x", i+1)
	}
	return paths
}

func TestIDToken_ProtectionIsThatOfTheJobsStart(t *testing.T) {
	g := startInstance(t, example(""))
	g.mustUpdate(func(w *gitlabtest.Instance) { w.Project(project).ProtectedBranches = nil })
	if got := g.claims(job)["ref_protected"]; got != "true" {
		t.Errorf("ref_protected %v after the branch was unprotected", got)
	}
}

func TestIDToken_OfNoJob(t *testing.T) {
	g := startInstance(t, example(""))
	if _, err := g.IDToken(77, audience); !errors.Is(err, gitlabtest.ErrNoJob) {
		t.Errorf("got %v", err)
	}
}

func TestKeySet_HasTheKeyOfJobsAndThatOfLogins(t *testing.T) {
	g := start(t, gitlabtest.Options{Instance: example(""), RelativeURLRoot: "/gitlab"})
	r := g.beside("/oauth/discovery/keys")
	if got := r.Header.Get("Cache-Control"); got != "max-age=86400, public, must-revalidate, no-transform" {
		t.Errorf("Cache-Control %s", got)
	}
	if keys := g.keySet(); len(keys) != 2 {
		t.Fatalf("%d keys", len(keys))
	}
	tests := []struct {
		name string
		key  gitlabtest.SigningKey
		err  error
	}{
		{"jobs", gitlabtest.CIKey, nil},
		{"logins", gitlabtest.UserLoginKey, nil},
		{"another instance", gitlabtest.ForeignKey, errUnknownKey},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			token, err := g.Sign(test.key, nil, []byte(`{"iss":"x"}`))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := g.verify(token); !errors.Is(err, test.err) {
				t.Errorf("%v, want %v", err, test.err)
			}
		})
	}
	if got := g.beside("/-/jwks"); got.StatusCode != http.StatusNotFound {
		t.Errorf("/-/jwks: status %d", got.StatusCode)
	}
}

func TestRotateSigningKey_LeavesNoOverlap(t *testing.T) {
	g := startInstance(t, example(""))
	before := g.idToken(job)
	if err := g.RotateSigningKey(4096); err != nil {
		t.Fatal(err)
	}
	if _, err := g.verify(before); !errors.Is(err, errUnknownKey) {
		t.Errorf("the token from before: %v", err)
	}
	if _, err := g.verify(g.idToken(job)); err != nil {
		t.Errorf("a token from after: %v", err)
	}
	public, err := g.PublicKey(gitlabtest.CIKey)
	if err != nil {
		t.Fatal(err)
	}
	if bits := public.N.BitLen(); bits != 4096 {
		t.Errorf("%d bits", bits)
	}
}

func TestSign_SetsAndRemovesMembersOfTheHeader(t *testing.T) {
	g := startInstance(t, example(""))
	token, err := g.Sign(gitlabtest.CIKey, map[string]any{"kid": nil, "alg": "none", "typ": "at+jwt"}, []byte(`{"a":1,"a":2}`))
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(token, ".")
	for i, want := range []string{`{"alg":"none","typ":"at+jwt"}`, `{"a":1,"a":2}`} {
		if got, err := base64.RawURLEncoding.DecodeString(parts[i]); err != nil || string(got) != want {
			t.Errorf("part %d: %s, %v, want %s", i, got, err, want)
		}
	}
}

func TestDiscovery_NamesTheKeySet(t *testing.T) {
	g := start(t, gitlabtest.Options{Instance: example(""), RelativeURLRoot: "/gitlab"})
	var got struct {
		Issuer  string
		JWKSURI string `json:"jwks_uri"`
	}
	r := g.beside("/.well-known/openid-configuration")
	if err := json.Unmarshal([]byte(r.body), &got); err != nil {
		t.Fatalf("%s: %v", r.body, err)
	}
	if got.Issuer != g.URL() || got.JWKSURI != g.URL()+"/oauth/discovery/keys" {
		t.Errorf("got %+v", got)
	}
}

func TestFaults_HitTheKeySetAndTheJobs(t *testing.T) {
	for name, path := range map[string]string{
		gitlabtest.KeySet: "/oauth/discovery/keys", gitlabtest.ProjectJob: "/api/v4" + jobPath,
		gitlabtest.ProjectGroups: "/api/v4" + groupsPath, gitlabtest.ProtectedEnvironment: "/api/v4" + protectedPath + "/prod",
	} {
		t.Run(name, func(t *testing.T) {
			g := startInstance(t, example(""))
			g.Fault(gitlabtest.Fault{Endpoint: name, Status: http.StatusBadGateway, Body: "<html>"})
			if got := g.beside(path); got.StatusCode != http.StatusBadGateway || got.body != "<html>" {
				t.Errorf("%d %s", got.StatusCode, got.body)
			}
			if calls := g.Calls(name); calls != 1 {
				t.Errorf("%d calls", calls)
			}
		})
	}
}
