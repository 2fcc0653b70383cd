:8

xPlaceholder*
dtype0

nDebugIdentityV3x