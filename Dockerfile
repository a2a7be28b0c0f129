# One image for the service and for device hosts: the command tells which.
FROM node:22-slim
WORKDIR /patchbay
COPY package.json package-lock.json prisma.config.ts ./
COPY prisma ./prisma
COPY openapi ./openapi
COPY web ./web
COPY src/cli/client ./src/cli/client
RUN npm ci && mkdir data && chown node data
COPY . .
USER node
VOLUME /patchbay/data
EXPOSE 7070
ENTRYPOINT ["node_modules/.bin/node", "src/cli/patchbay.ts"]
CMD ["serve"]
