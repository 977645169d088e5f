"""The two programs of the renderer, in OpenGL's shading language 3.30."""

VERTEX = """
#version 330
uniform mat3 turn;
uniform float distance;
uniform vec2 stretch;
uniform vec2 middle;
in vec3 rest;
in vec2 coordinate;
in vec3 color;
in float gloss;
in vec3 position;
in vec3 normal;
out vec3 at_rest;
out vec3 rest_normal;
out vec2 place;
out vec3 own_color;
out float own_gloss;
out vec3 seen;
out vec3 facing;
void main() {
    seen = turn * position;
    facing = turn * normal;
    at_rest = rest;
    rest_normal = normal;
    place = coordinate;
    own_color = color;
    own_gloss = gloss;
    float w = 1.0 - seen.z / distance;
    // Depth from -1 (near, z = 1.05) to 1 (far): affine in z, so that planes stay planes after the division by w.
    gl_Position = vec4(stretch * seen.xy + middle * w, (1.05 / distance) - seen.z / 1.05, w);
}
"""

FRAGMENT = """
#version 330
uniform sampler2D picture;
uniform sampler2D photo;
uniform sampler2D around;
uniform vec3 sun_direction;
uniform vec3 sun;
uniform float ambient;
uniform float photo_amount;
uniform float photo_repeats;
uniform float shine;
in vec3 at_rest;
in vec3 rest_normal;
in vec2 place;
in vec3 own_color;
in float own_gloss;
in vec3 seen;
in vec3 facing;
out vec4 result;

vec3 linear(vec3 screen) { return pow(screen, vec3(2.2)); }

// The photograph seen from three sides, weighted by how far the surface faces each.
vec3 wrapped() {
    vec3 share = pow(abs(normalize(rest_normal)) + 1e-3, vec3(4.0));
    share /= share.x + share.y + share.z;
    vec3 at = at_rest * photo_repeats;
    return share.x * texture(photo, at.zy).rgb + share.y * texture(photo, at.xz).rgb + share.z * texture(photo, at.xy).rgb;
}

void main() {
    vec4 own = texture(picture, place);
    if (own.a < 0.5) discard;
    vec3 n = normalize(facing);
    if (n.z < 0.0) n = -n;  // two-sided: many models have their triangles either way round
    vec3 base = own.rgb * own_color;
    if (photo_amount > 0.0) {
        // The model's own light and dark stay, so that its parts can still be told apart.
        float level = dot(base, vec3(0.3, 0.6, 0.1));
        base = mix(base, wrapped() * (0.55 + 0.6 * level), photo_amount);
    }
    vec3 albedo = linear(clamp(base, 0.02, 0.95));
    vec3 surroundings = linear(textureLod(around, 0.5 + 0.45 * n.xy * vec2(1.0, -1.0), 4.5).rgb);
    float low = 0.6 + 0.4 * smoothstep(-1.0, 0.6, n.y);  // less light comes from below
    vec3 light = ambient * low * (0.35 + 0.9 * surroundings) + sun * max(dot(n, sun_direction), 0.0);
    vec3 toward = vec3(0.0, 0.0, 1.0);
    vec3 half_way = normalize(sun_direction + toward);
    float highlight = pow(max(dot(n, half_way), 0.0), 8.0 + 60.0 * own_gloss) * (0.05 + 0.5 * own_gloss);
    float edge = pow(1.0 - max(n.z, 0.0), 4.0);
    vec3 mirrored = reflect(-toward, n);
    vec3 mirror = linear(textureLod(around, 0.5 + 0.4 * mirrored.xy * vec2(1.0, -1.0), 2.0).rgb);
    vec3 color = albedo * light + sun * highlight + shine * (0.1 + own_gloss) * (0.15 + 0.85 * edge) * mirror;
    color = color / (1.0 + 0.25 * color);  // bright spots are compressed, not clipped
    result = vec4(pow(clamp(color * 1.1, 0.0, 1.0), vec3(1.0 / 2.2)), 1.0);
}
"""
